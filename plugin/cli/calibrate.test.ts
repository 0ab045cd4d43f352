import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { goldenConfig, GOLDEN_FOLDER } from '../../fixtures/golden.ts';
import { openBundle } from '../../inference/bundle/registry.ts';
import { addSlices } from '../../training/slice-cache.ts';

const SIDE = 112;
/** As many as a false-positive rate of 25 % needs. */
const PATIENTS = 3;

let folder: string;
let data: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-calibrate-'));
  data = join(folder, 'data');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const qfae = (...words: string[]) => run(words);

function run(
  words: string[],
  settings: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const script = new URL('qfae.ts', import.meta.url).pathname;
  const env = { PATH: process.env['PATH'], QFAE_DATA: data, QFAE_INFERENCE_PROVIDER: 'cpu', ...settings };
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...words], { env, cwd: folder }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

/** A disc in noise. */
const disc = (i: number) =>
  Uint8Array.from({ length: SIDE * SIDE }, (_, j) => {
    const [x, y] = [(j % SIDE) / SIDE - 0.5, Math.floor(j / SIDE) / SIDE - 0.5];
    return x * x + y * y < 0.02 + 0.03 * i ? 90 + ((j * (7 + i)) % 40) : 10;
  });

test('from published weights to a bundle that scores, by pictures and DICOM studies or by a slice cache', async () => {
  for (const name of ['model', 'raw_mae_p16_224']) {
    const { code } = await qfae('weights', 'import', join(GOLDEN_FOLDER, 'weights', `${name}.pth`));
    expect(code).toBe(0);
  }
  writeFileSync(join(folder, 'model.json'), JSON.stringify(goldenConfig));
  const words = ['bundles', 'create', '--profile', 'chest-xray', '--checkpoint', 'model.pth', '--json'];
  const made = await qfae(...words, '--model', 'model.json');
  expect([made.code, made.stderr]).toEqual([0, '']);
  const { id: created } = JSON.parse(made.stdout) as { id: string };

  // Two pictures of each of two patients; two DICOM studies of one; one that the profile does not score.
  const normals = join(folder, 'normals');
  mkdirSync(normals);
  for (const i of [0, 1, 2, 3]) {
    await sharp(disc(i), { raw: { width: SIDE, height: SIDE, channels: 1 } })
      .png()
      .toFile(join(normals, `case${i >> 1}_${i}.png`));
  }
  const attributes = { Modality: 'DX', ViewPosition: 'PA', BodyPartExamined: 'CHEST', PatientID: 'ID-1' };
  await writeCRImage(join(normals, 'a'), { name: 'First', attributes });
  await writeCRImage(join(normals, 'b'), { name: 'Second', attributes });
  const lateral = { ...attributes, ViewPosition: 'LL', PatientID: 'ID-2' };
  await writeCRImage(join(normals, 'c'), { name: 'Third', attributes: lateral });
  const picture = join(normals, 'case0_0.png');
  const study = async (...words: string[]) =>
    JSON.parse((await qfae('score', ...words, '--json')).stdout.trim().split('\n').at(-1)!) as object;
  const raw = await study(picture, '--raw', '--bundle', created);
  const dicom = await study(join(normals, 'a'), '--raw', '--bundle', created);
  expect([raw, dicom]).toEqual([
    { type: 'study', file: picture, status: 'scored', rawScore: expect.any(Number), bundle: created },
    expect.objectContaining({ studyInstanceUID: expect.any(String), rawScore: expect.any(Number) }),
  ]);
  const float16 = { QFAE_INFERENCE_PRECISION: 'float16' };
  const half = await run(['score', picture, '--raw', '--bundle', created], float16);
  expect([half.code, half.stderr]).toEqual([0, '']); // nothing of onnxruntime's among the node's JSON lines
  const folders = ['--normal', join(normals, 'a'), '--abnormal', join(normals, 'b')];
  expect((await qfae('evaluate', ...folders, '--bundle', created, '--out', 'evaluated')).code).toBe(0);
  expect((await qfae('score', picture, '--bundle', created)).stderr).toContain('is not calibrated');
  const calibrate = ['calibrate', '--bundle', created, '--alpha', '0.25', '--json'];
  const { code, stdout, stderr } = await qfae(...calibrate, '--normal', normals, '--patient', '^case\\d+');
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('is left out: ') });
  expect(stderr).not.toContain('ID-2');
  const { id, ...line } = JSON.parse(stdout) as { id: string };
  expect(line).toEqual({ type: 'bundle', action: 'calibrated', patients: PATIENTS });

  expect((await qfae('bundles', 'promote', id)).code).toBe(0);
  const { rawScore } = raw as { rawScore: number };
  expect(await study(picture, '--bundle', 'chest-xray')).toMatchObject({
    status: 'scored',
    rawScore,
    bundle: id,
  });

  // The same pictures from a cache: the same scores.
  const slices = Array.from({ length: 2 * PATIENTS }, (_, i) => ({
    ...{ pixels: disc(i), rows: SIDE, columns: SIDE },
    ...{ patient: `${i >> 1}`, study: `${i}` },
  }));
  await addSlices(join(folder, 'cache'), slices);
  const cached = await qfae(...calibrate, '--cache', 'cache');
  const { scores } = (await openBundle(data, (JSON.parse(cached.stdout) as { id: string }).id)).calibration!;
  const ofPictures = (await openBundle(data, id)).calibration!.scores;
  const same = scores.filter((score) => ofPictures.some((other) => Math.abs(other - score) < 1e-6));
  expect([scores.length, same.length]).toEqual([PATIENTS, 2]);

  // Scores of another precision are compared with these only under protest.
  const remark = `bundle ${id} is calibrated in float32 and scores in float16: `;
  expect((await run(['score', picture, '--bundle', id], float16)).stderr).toContain(remark);
  const again = await run([...calibrate, '--cache', 'cache'], float16);
  const { id: fitting } = JSON.parse(again.stdout) as { id: string };
  expect((await openBundle(data, fitting)).calibration).toMatchObject({ precision: 'float16' });
}, 900_000);

test('wrong usage ends with 2', async () => {
  const words = ['bundles', 'create', '--checkpoint', 'model.pth', '--profile', 'knee'];
  const [task, nothing] = await Promise.all([qfae(...words), qfae('calibrate', '--bundle', 'x')]);
  expect([task.code, nothing.code]).toEqual([2, 2]);
}, 300_000);
