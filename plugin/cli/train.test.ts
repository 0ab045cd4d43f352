import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { normal, randomStream } from '../../fixtures/random.ts';
import { referencePicture } from '../../inference/bundle/reference-picture.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { listBundles } from '../../inference/bundle/registry.ts';
import { addSlices } from '../../training/slice-cache.ts';
import type { SourceSlice } from '../../training/slice-cache.ts';
import { readRecords } from '../../training/run-log.ts';

const qfae = fileURLToPath(new URL('./qfae.ts', import.meta.url));
const STEPS = 6;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'train-'));
  await addSlices(join(folder, 'cache'), phantoms());
});
afterAll(() => rm(folder, { recursive: true }));

/** A disc with a brighter one inside, of 27 patients. */
function* phantoms(): Generator<SourceSlice> {
  for (let patient = 0; patient < 27; patient++) {
    const random = randomStream(patient, 'phantom');
    const [x, y] = [normal(random) / 20, normal(random) / 20];
    const side = 64;
    const pixels = Uint8Array.from({ length: side * side }, (_, i) => {
      const [u, v] = [(i % side) / side - 0.5, Math.floor(i / side) / side - 0.5];
      if ((u - x) ** 2 + (v - y) ** 2 < 0.01) return 200;
      return u * u + v * v < 0.16 ? 100 + 20 * random() : 0;
    });
    yield { pixels, rows: side, columns: side, patient: `${patient}`, study: '1' };
  }
}

const parameters = [
  ...['--profile', 'untrained', '--epochs', '3', '--batch-size', '4', '--micro-batch', '2'],
  ...['--rate', '0.001', '--checkpoint-every', '2', '--threads', '1', '--json'],
];

const start = (run: string, ...more: string[]) =>
  startQfae('train', '--cache', join(folder, 'cache'), '--run', join(folder, run), ...parameters, ...more);

function startQfae(...words: string[]) {
  return spawn(process.execPath, [qfae, ...words], {
    cwd: folder,
    env: { PATH: process.env['PATH'], QFAE_DATA: join(folder, 'data') },
  });
}

interface Ended {
  code: number | null;
  out: string;
  errors: string;
}

const command = (run: string, ...more: string[]): Promise<Ended> => ended(start(run, ...more));

async function ended(child: ReturnType<typeof startQfae>): Promise<Ended> {
  let [out, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, errors };
}

const lines = (out: string) =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** What must be the same however often a run was killed. */
async function losses(run: string) {
  const records = await readRecords(join(folder, run, 'log.jsonl'));
  return records.map((record) =>
    record.type === 'step'
      ? { step: record.step, loss: record.loss, gradientNorm: record.gradientNorm }
      : { ...record },
  );
}

test('a dry run says what would be done', async () => {
  const { code, out } = await command('dry', '--dry-run');
  expect(code).toBe(0);
  expect(lines(out)).toEqual([
    {
      type: 'plan',
      base: expect.stringMatching(/^untrained@/),
      run: join(folder, 'dry'),
      trainingPatients: 8,
      heldOutPatients: 19,
      totalSteps: STEPS,
      trainedValues: 204_736,
      secondsPerStep: expect.any(Number),
    },
  ]);
  expect(await readdir(folder)).not.toContain('dry');
});

test('a dry run of pretraining says how long it would take', async () => {
  const { code, out } = await ended(
    startQfae(
      ...['pretrain', '--cache', join(folder, 'cache'), '--profile', 'discs', '--model', 'tiny'],
      ...['--batch-size', '4', '--micro-batch', '2', '--epochs', '3', '--threads', '1', '--dry-run'],
    ),
  );
  expect(code).toBe(0);
  expect(out).toMatch(
    /^6 steps over 8 slices; .*\n[\d.e-]+ s a step, tried just now with cpu: about .* h\n$/,
  );
});

test('what cannot be trained is refused before it begins', async () => {
  const few = await command('few', '--alpha', '0.01');
  expect([few.code, few.out]).toEqual([1, '']);
  expect(few.errors).toContain('27 patients; 99 must be held out');
  const odd = await command('odd', '--batch-size', '6', '--micro-batch', '4', '--dry-run');
  expect([odd.code, odd.out]).toEqual([1, '']);
  expect(odd.errors).toBe('a batch of 6 does not consist of micro-batches of 4\n');
});

test('what cannot be opened ends the process', async () => {
  writeFileSync(join(folder, 'no-folder'), '');
  const { code, errors } = await command('no-folder');
  expect(code).toBe(1);
  expect(errors).toContain('ENOTDIR');
}, 120_000);

test('training lowers the loss and makes a bundle that verifies; killed at any moment, it goes on the same', async () => {
  const whole = await command('whole');
  expect(whole.errors).toBe('');
  expect(whole.code).toBe(0);
  const records = lines(whole.out);
  const steps = records.filter(({ type }) => type === 'step');
  expect(steps).toHaveLength(STEPS);
  expect(Number(steps.at(-1)!['loss'])).toBeLessThan(Number(steps[0]['loss']));
  const { id } = records.at(-1) as { id: string };
  expect((await readdir(join(folder, 'whole'))).sort()).toEqual([
    'checkpoint.safetensors',
    'curves.png',
    'log.jsonl',
    'previews',
  ]);
  expect(await readdir(join(folder, 'whole', 'previews'))).toHaveLength(STEPS / 2);
  const preview = sharp(await readFile(join(folder, 'whole', 'previews', 'step-0000006.png')));
  expect(await preview.metadata()).toMatchObject({ width: 3 * 112, height: 2 * 112 });

  await verifyBundle(join(folder, 'data'), id);
  const { bundle } = (await listBundles(join(folder, 'data'))).find(({ bundle }) => bundle.id === id)!;
  expect(bundle.calibration!.scores).toHaveLength(19);
  // No patient's slice is in a bundle.
  const drawn = Buffer.from(referencePicture(bundle.model.imageSize).pixels).toString('base64');
  expect(bundle.reference.pixels).toBe(drawn);
  expect(bundle.provenance).toMatchObject({ origin: 'trained', trainingStudies: 8, calibrationStudies: 19 });

  const seed = Date.now() % 100_000;
  console.info(`moments of the kills: seed ${seed}`);
  const random = randomStream(seed, 'kill');
  for (let kill = 0; kill < 2; kill++) {
    const child = start('killed');
    const at = Math.floor(random() * 4);
    let seen = 0;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      seen += text.split('"type":"step"').length - 1;
      if (seen > at) setTimeout(() => child.kill('SIGKILL'), 200 * random());
    });
    await once(child, 'close');
  }
  expect((await command('killed')).code).toBe(0);
  expect(await losses('killed')).toEqual(await losses('whole'));

  const other = await command('whole', '--seed', '2');
  expect(other.code).toBe(1);
  expect(other.errors).toContain('holds a run with other settings');
}, 300_000);

test('a checkpoint that cannot be written ends the run with the reason', async () => {
  const child = start('blocked', '--checkpoint-every', String(STEPS));
  // A folder takes the checkpoint's place before the one at the end is due.
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (text.includes('"type":"step","step":0')) mkdirSync(join(folder, 'blocked', 'checkpoint.safetensors'));
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [code] = (await once(child, 'close')) as [number | null];
  expect(code).toBe(1);
  expect(errors).toContain(`training stopped at step ${STEPS - 1}`);
  const records = await readRecords(join(folder, 'blocked', 'log.jsonl'));
  expect(records.at(-1)).toMatchObject({ type: 'failed', step: STEPS - 1 });
  expect((await readdir(join(folder, 'blocked'))).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});
