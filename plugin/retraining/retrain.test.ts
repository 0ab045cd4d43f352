import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import sharp from 'sharp';
import { DicomPool } from '../../dicom/pool.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import { randomStream } from '../../fixtures/random.ts';
import { writeCRImage, writeCTSeries } from '../../fixtures/dicom-series.ts';
import { testPattern } from '../../fixtures/test-pattern.ts';
import { addBundle, openBundle, promote, promotedBundle, rollback } from '../../inference/bundle/registry.ts';
import { setShadow, shadowBundle } from '../../inference/bundle/shadow.ts';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';
import { OrthancArchive } from '../archive/orthanc.ts';
import { settingsSchema } from '../settings.ts';
import { chooseStudies } from './choose-studies.ts';
import { readCard } from './model-card.ts';
import { retrainingRequestSchema } from './request.ts';
import { retrain, trainingOptions } from './retrain.ts';
import type { RetrainContext } from './retrain-context.ts';
import { beginRun, createRun, openRun, runsOf, type RunResult } from './run-folder.ts';
import { scheduleSchema } from './schedule-settings.ts';
import { readStudies } from './study-record.ts';
import { saltID } from './study-salt.ts';

let folder: string;
let root: string;
let untrained: string;
const pool = new DicomPool({ threads: 1 });
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-retrain-'));
  root = join(folder, 'data');
  mkdirSync(root);
  // The same split each time: with one salt in 35, no held-out normal scores below the three calibrated with.
  writeFileSync(join(root, 'study-salt'), '5'.repeat(64));
  untrained = (await ensureUntrained(root)).id;
}, 300_000);
afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A folder of pictures: a pattern with grain; abnormal ones are full of stripes. */
async function pictures(name: string, normal: number, abnormal: number): Promise<string> {
  const path = join(folder, name);
  mkdirSync(path);
  const side = 112;
  for (let i = 0; i < normal + abnormal; i++) {
    const random = randomStream(i, name);
    const pixels = Uint8Array.from(testPattern(side, side), (value, j) => {
      const stripe = i < normal ? 0 : (j % side) % 8 < 4 ? 120 : -120;
      return Math.min(255, Math.max(0, 200 * value + 20 * random() + stripe));
    });
    await sharp(pixels, { raw: { width: side, height: side, channels: 1 } })
      .png()
      .toFile(join(path, `${i}.png`));
  }
  return path;
}

const small = { epochs: 2, batchSize: 4, microBatch: 4, rate: 0.001, alpha: 0.25, threads: 1 };
const context = (changes: Partial<RetrainContext> = {}): RetrainContext => ({
  ...{ root, archives: new Map(), pool, scorer: { batchSize: 4 }, keepRuns: 3, provider: 'cpu' },
  ...{ onPlan: ignore, onStudy: ignore, onStep: ignore, onStage: ignore },
  ...changes,
});
const ignore = () => undefined;
const nothing = { normal: [], abnormal: [], contradicted: 0 };

async function run(
  options: object,
  changes?: Partial<RetrainContext>,
  signal = new AbortController().signal,
): Promise<RunResult | undefined> {
  const request = retrainingRequestSchema.parse({ profile: 'untrained', ...small, ...options });
  const started = await createRun(root, request, nothing);
  return retrain(started, context(changes), signal);
}

test('a micro-batch that does not divide the batch is refused, of a schedule too', () => {
  const request = { profile: 'untrained', normal: { folder }, batchSize: 6 };
  const schedule = { ...request, cron: '* * * * *' };
  for (const [schema, given] of [
    [retrainingRequestSchema, request],
    [scheduleSchema, schedule],
  ] as const) {
    expect(schema.safeParse(given).success).toBe(true);
    expect(schema.safeParse({ ...given, microBatch: 3 }).success).toBe(true);
    const { error } = schema.safeParse({ ...given, microBatch: 4 });
    expect(error!.issues).toMatchObject([{ path: ['microBatch'], message: 'does not divide batchSize' }]);
  }
});

test('what is good is promoted; poisoned normals and a broken bundle are stopped by the gate', async () => {
  const wide = { falsePositives: 0.7, auroc: 0.5 };
  const clean = { folder: await pictures('clean', 20, 0) };
  // Nothing that says something is promoted yet: this one is taken for granted.
  const known = { folder: await pictures('known', 0, 2) };
  const first = await run({ normal: clean, abnormal: known, gate: wide });
  expect(first).toMatchObject({ outcome: 'promoted', reason: null });
  expect(await readCard(root, first!.bundle)).toMatchObject({
    ...{ outcome: 'promoted', reason: null },
    // Two abnormal patients do not decide, but are told.
    evaluatedBy: 'synthetic anomalies',
    data: { abnormal: { patients: 2 } },
    labelled: {
      candidate: { auroc: expect.any(Number) as number },
      promoted: { auroc: expect.any(Number) as number },
    },
  });
  // Killed when it was promoted, and before it could say so.
  const [folderOfFirst] = await runsOf(root, 'untrained');
  rmSync(join(folderOfFirst, 'result.json'));
  const again = await retrain(await openRun(folderOfFirst), context(), new AbortController().signal);
  expect(again).toEqual(first);
  expect(existsSync(join(folderOfFirst, 'normal-slices'))).toBe(false);

  const poisoned = { folder: await pictures('poisoned', 2, 28) };
  const second = await run({ normal: poisoned });
  expect(second).toMatchObject({
    outcome: 'candidate',
    reason: expect.stringMatching(/normals: the promoted/) as string,
  });
  const card = await readCard(root, second!.bundle);
  expect(card!.gate.find(({ name }) => name === 'normals')).toMatchObject({ passed: false });
  expect(card).toMatchObject({ comparedWith: first!.bundle, outcome: 'candidate' });

  const other = { normal: { folder: await pictures('other', 20, 0) }, gate: wide, shadow: true };
  const stop = new AbortController();
  const onStep = () => {
    stop.abort();
  };
  expect(await run(other, { onStep }, stop.signal)).toBeUndefined();
  // It goes on with what it began with, whatever is promoted by now.
  await promote(root, untrained);
  const onStage = (stage: string) => {
    if (stage === 'evaluation') damageNewestWeights();
  };
  const resumed = await openRun((await runsOf(root, 'untrained')).at(-1)!);
  const broken = await retrain(resumed, context({ onStage }), new AbortController().signal);
  await rollback(root, 'untrained');
  expect(broken).toMatchObject({
    outcome: 'candidate',
    reason: expect.stringMatching(/^intact: .*damaged/) as string,
  });
  expect((await readCard(root, broken!.bundle))?.comparedWith).toBe(first!.bundle);
  expect(await promotedBundle(root, 'untrained')).toBe(first!.bundle);
  // A candidate may be watched nevertheless; a promoted bundle needs no shadow.
  expect(await shadowBundle(root, 'untrained')).toBe(broken!.bundle);
  await expect(setShadow(root, first!.bundle)).rejects.toThrow('it needs no shadow');
}, 900_000);

test('one abnormal study in five that are called normal stops a candidate', async () => {
  const own = join(folder, 'own');
  mkdirSync(own);
  await ensureUntrained(own);
  // The same patients are held out whenever this runs.
  writeFileSync(join(own, 'study-salt'), '0'.repeat(64));
  const abnormal = { folder: await pictures('known-abnormal', 0, 10) };
  const train = async (normal: string, gate: object) => {
    const options = { ...small, epochs: 1, alpha: 0.05, evaluation: 0.64, profile: 'untrained', gate };
    const request = retrainingRequestSchema.parse({ ...options, normal: { folder: normal }, abnormal });
    const started = await createRun(own, request, nothing);
    return retrain(started, context({ root: own }), new AbortController().signal);
  };
  const first = await train(await pictures('normal', 70, 0), { falsePositives: 0.9, auroc: 0.5 });
  expect(first).toMatchObject({ outcome: 'promoted' });
  const second = await train(await pictures('called-normal', 56, 14), { falsePositives: 0.02, auroc: 0.5 });
  expect(second).toMatchObject({ outcome: 'candidate' });
  const card = await readCard(own, second!.bundle);
  const found = card!.gate.find(({ name }) => name === 'normals')!;
  expect(found).toMatchObject({ passed: false, numbers: { normals: 45 } });
  expect(found.finding).toMatch(/more than 7\.0 % means that they are not all normal/);
}, 900_000);

/** The same size, other numbers. */
function damageNewestWeights(): void {
  const weights = join(root, 'weights');
  const [newest] = readdirSync(weights)
    .map((name) => join(weights, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  const bytes = readFileSync(newest);
  bytes.fill(0x3f, bytes.length - 4000);
  writeFileSync(newest, bytes);
}

test('what cannot be trained with is said before training', async () => {
  const begun: string[] = [];
  const onStage = (stage: string) => void begun.push(stage);
  const few = { folder: await pictures('few', 3, 0) };
  await expect(run({ normal: few }, { onStage })).rejects.toThrow(
    'too few studies: normal ones of 3 patients; 3 are held out to calibrate and 9 to evaluate by',
  );
  const both = { folder: relative('', few.folder) };
  await expect(run({ normal: few, abnormal: both }, { onStage })).rejects.toThrow(
    'none of the 3 studies: 3 × is among the abnormal ones, too',
  );
  const mixed = join(folder, 'mixed');
  await writeCTSeries(join(mixed, 'ct'), { name: 'CT' });
  await writeCRImage(join(mixed, 'cr'), { name: 'CR' });
  await expect(run({ normal: { folder: mixed } }, { onStage })).rejects.toThrow(
    'mixed modalities: CR (1 studies), CT (1 studies); mixed planes: axial (1 studies), unknown (1 studies)',
  );
  const fetched: string[] = [];
  const onStudy: RetrainContext['onStudy'] = ({ study }) => void fetched.push(study);
  await expect(run({ normal: few, limit: 2 }, { onStage, onStudy })).rejects.toThrow(
    'too few studies: normal ones of 2 patients',
  );
  expect(fetched).toHaveLength(2);
  const busy = new DicomPool({ threads: 1 });
  busy.readSlice = () => Promise.reject(new DicomError('timeout', 'not finished after 1 ms'));
  const stack = { folder: join(mixed, 'ct') };
  await expect(run({ normal: stack }, { onStage, pool: busy })).rejects.toThrow(
    /^study [0-9.]+ could not be read now: not finished after 1 ms$/,
  );
  await busy.close();
  await expect(run({ normal: few, profile: 'chest-xray' }, { onStage })).rejects.toThrow(
    'no bundle is promoted for chest-xray: name one (--bundle), of these: untrained@',
  );
  const { id: _, ...manifest } = await openBundle(root, untrained);
  const provenance = { ...manifest.provenance, studyHashes: ['of a study'], studySalt: saltID('elsewhere') };
  const elsewhere = await addBundle(root, { ...manifest, provenance });
  const onIt = { normal: few, bundle: elsewhere.id, continue: true };
  await expect(run(onIt, { onStage })).rejects.toThrow(
    `bundle ${elsewhere.id} was made in another data folder: which of these studies it has seen cannot be told`,
  );
  expect(new Set(begun)).toEqual(new Set(['data set']));
  // Of runs that failed the newest are kept, and pixels at most of the last one.
  const kept = await runsOf(root, 'untrained');
  expect(kept).toHaveLength(3);
  expect(kept.map((path) => existsSync(join(path, 'normal-slices')))).toEqual([false, false, false]);
}, 300_000);

test('a retraining trains as it is asked to', () => {
  const asked = { loss: 'mae', verticalFlip: false, checkpointing: true } as const;
  const request = retrainingRequestSchema.parse({ profile: 'untrained', normal: { folder }, ...asked });
  expect(trainingOptions({ folder, request }, context(), untrained)).toMatchObject(asked);
});

test('labels are asked of Orthanc; studies that are known to be abnormal are never normal', async () => {
  const asked: unknown[] = [];
  let labels: string[] | undefined = ['normal', 'teaching'];
  const double = createServer((request, response) => {
    let body = '';
    request.on('data', (data: Buffer) => (body += data.toString()));
    request.on('end', () => {
      asked.push([request.method, request.url, JSON.parse(body)]);
      const study = (uid: string) => ({ ID: uid, MainDicomTags: { StudyInstanceUID: uid }, Labels: labels });
      response.end(JSON.stringify([study('1.2.1'), study('1.2.2')]));
    });
  }).listen(0, '127.0.0.1');
  await once(double, 'listening');
  const url = `http://127.0.0.1:${(double.address() as AddressInfo).port}`;
  const archive = new OrthancArchive(settingsSchema.parse({ orthanc: { url } }).orthanc!);
  try {
    const list = join(folder, 'studies.txt');
    writeFileSync(list, '# known\n1.2.2\n\n1.2.3\n');
    const request = retrainingRequestSchema.parse({
      profile: 'untrained',
      normal: { label: 'normal', studies: list, feedback: true },
    });
    const judged = (label: string) =>
      Promise.resolve(
        { normal: ['1.2.4'], abnormal: ['1.2.1'] }[label]?.map((studyInstanceUID) => ({
          ...{ archive: 'orthanc', studyInstanceUID, givenAt: new Date(0) },
        })) ?? [],
      );
    const choose = () => chooseStudies(request, { archives: new Map([['orthanc', archive]]), judged });
    const chosen = await choose();
    expect(asked).toEqual([
      ['POST', '/tools/find', { Level: 'Study', Query: {}, Labels: ['normal'], Expand: true }],
    ]);
    expect(chosen).toEqual({
      normal: [
        { archive: 'orthanc', studyInstanceUID: '1.2.2', why: [`named in ${list}`, 'has the label normal'] },
        { archive: 'orthanc', studyInstanceUID: '1.2.3', why: [`named in ${list}`] },
        {
          ...{ archive: 'orthanc', studyInstanceUID: '1.2.4' },
          why: ['a reader said normal at 1970-01-01T00:00:00.000Z'],
        },
      ],
      abnormal: [],
      contradicted: 1,
    });
    const known = join(folder, 'abnormal.txt');
    writeFileSync(known, '1.2.2\n');
    request.abnormal = { archive: 'orthanc', studies: known };
    expect(await choose()).toMatchObject({
      normal: [{ studyInstanceUID: '1.2.3' }, { studyInstanceUID: '1.2.4' }],
      abnormal: [{ studyInstanceUID: '1.2.2' }],
      contradicted: 2,
    });
    labels = undefined; // as before 1.12: all studies, whatever their labels
    await expect(choose()).rejects.toThrow('this Orthanc has no labels');
  } finally {
    await archive.close();
    double.close();
    double.closeAllConnections();
  }
});

test('a run that was broken off while studies were fetched goes on with the others', async () => {
  const request = retrainingRequestSchema.parse({
    ...{ profile: 'untrained', ...small, normal: { folder: await pictures('cut', 45, 0) } },
    gate: { falsePositives: 0.7, auroc: 0.9 },
  });
  const { folder: at } = await createRun(root, request, nothing);
  const stop = new AbortController();
  const seen: string[] = [];
  const onStudy: RetrainContext['onStudy'] = ({ study }) => {
    seen.push(study);
    if (seen.length === 30) stop.abort();
  };
  expect(await retrain(await openRun(at), context({ onStudy }), stop.signal)).toBeUndefined();
  const kept = (await readStudies(join(at, 'studies.jsonl'))).map(({ study }) => study);
  expect(kept).toEqual(seen.slice(0, 20)); // whole groups only
  const choice = (uid: string) => ({ ...nothing, abnormal: [{ ...known, studyInstanceUID: uid }] });
  const known = { archive: 'orthanc', why: ['was chosen'] };
  const chosen = await beginRun(root, request, () => Promise.resolve(choice('1.2')));
  expect(chosen).toEqual({ folder: at, request, chosen: choice('1.2') });
  const rest: string[] = [];
  const stopAtTraining = new AbortController();
  await retrain(
    await openRun(at),
    context({
      onStudy: ({ study }) => void rest.push(study),
      onPlan: () => {
        stopAtTraining.abort();
      },
    }),
    stopAtTraining.signal,
  );
  expect([...kept, ...rest].sort()).toEqual([...new Set([...kept, ...rest])].sort());
  expect(kept.length + rest.length).toBe(45);
  // From now on it trains with what it has.
  expect(await beginRun(root, request, () => Promise.resolve(choice('1.3')))).toEqual(chosen);
}, 300_000);
