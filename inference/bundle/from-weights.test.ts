import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { golden, goldenConfig, GOLDEN_FOLDER, maxError } from '../../fixtures/golden.ts';
import { Scorer } from '../scorer.ts';
import { scoringGraph } from '../scoring-graph.ts';
import { Session } from '../session.ts';
import { importWeights } from '../weights/import-weights.ts';
import { calibratedFrom } from './calibrated.ts';
import { bundleFromWeights } from './from-weights.ts';
import { mountWeights, promote, promotedBundle, weightsFolder } from './registry.ts';
import type { Bundle } from './schema.ts';
import { verifyBundle } from './verify.ts';

const SIDE = goldenConfig.imageSize;
const parts = { checkpoint: 'model.pth', title: 'Golden', software: 'test' };

let root: string;
let created: Bundle;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'from-weights-'));
  for (const source of ['model.pth', 'raw_mae_p16_224.pth']) {
    const origin = { source, name: `golden-${source.slice(0, -4)}`, licence: 'none' };
    await importWeights(root, join(GOLDEN_FOLDER, 'weights', source), origin);
  }
  created = await bundleFromWeights(root, { ...parts, profile: 'chest-xray', model: goldenConfig });
}, 300_000);
afterAll(() => rm(root, { recursive: true }));

test('a bundle of imported weights scores as the released code', async () => {
  const session = await Session.open({
    graph: scoringGraph(created, await mountWeights(root, created)).toBytes(),
    weightsFolder: weightsFolder(root),
  });
  const { score } = await session.run({
    x: { data: await golden('forward', 'x'), dims: [2, 3, SIDE, SIDE] },
  });
  await session.close();
  // `mean|max` of golden/scores.json, the reduction of chest-xray.
  expect(maxError(score.data, [0.48508819937705994, 0.5570806860923767])).toBeLessThan(3e-6);
  await expect(verifyBundle(root, created.id)).resolves.toBeDefined();
});

test('its reference is prepared as the profile says, its weights found by the name they were pulled by', async () => {
  const pulled = { ...parts, checkpoint: 'golden-model', perceptual: 'golden-raw_mae_p16_224' };
  const liver = await bundleFromWeights(root, { ...pulled, profile: 'liver-ct', model: goldenConfig });
  await expect(verifyBundle(root, liver.id)).resolves.toBeDefined();
}, 300_000);

test('it says nothing before it is calibrated; then each patient counts once, by the highest slice', async () => {
  await expect(promote(root, created.id)).rejects.toThrow(`qfae calibrate --bundle ${created.id}`);
  const slice = (i: number) => ({ pixels: disc(i), rows: SIDE, columns: SIDE });
  const scorer = await Scorer.open(root, created.id);
  try {
    await expect(scorer.score([slice(0)]).next()).rejects.toThrow('is not calibrated');
    const raw: number[] = [];
    for await (const { rawScore } of scorer.scoreRaw([0, 1, 2, 3].map(slice))) raw.push(rawScore);
    expect(new Set(raw).size).toBe(4);

    async function* slices(...which: number[]) {
      for (const i of which) yield await Promise.resolve(slice(i));
    }
    const studies = [
      { patient: 'a', slices: () => slices(0, 1) },
      { patient: 'b', slices: () => slices(2) },
      { patient: 'b', slices: () => slices(3) },
    ];
    await expect(calibratedFrom(root, scorer, studies, 0.3)).rejects.toThrow(
      'a false-positive rate of 0.3 needs normal studies of 3 patients, there are 2',
    );
    const { id, calibration, provenance, reference } = await calibratedFrom(root, scorer, studies, 0.34);
    const expected = [Math.max(raw[0], raw[1]), Math.max(raw[2], raw[3])].sort((a, b) => a - b);
    expect(maxError(calibration!.scores, expected)).toBeLessThan(1e-6);
    expect(provenance).toMatchObject({ origin: 'imported', calibrationStudies: 2, predecessor: created.id });
    expect(reference).toEqual(created.reference);
    await promote(root, id);
    expect(await promotedBundle(root, 'chest-xray')).toBe(id);
  } finally {
    await scorer.close();
  }
}, 300_000);

test('weights that are not there, or do not fit, are named', async () => {
  await expect(bundleFromWeights(root, { ...parts, profile: 'brain-mri' })).rejects.toThrow(
    'no perceptual model (dim 1024, 24 blocks, patch 16) among the imported weights',
  );
  await expect(bundleFromWeights(root, { ...parts, profile: 'brain-mri-pair' })).rejects.toThrow(
    'model.pth has 1 encoders, the model of brain-mri-pair has 2',
  );
  const other = { ...parts, profile: 'brain-mri' as const, checkpoint: 'other.pth' };
  await expect(bundleFromWeights(root, other)).rejects.toThrow('no head other.pth');
  const model = { ...goldenConfig, decoder: { ...goldenConfig.decoder, registers: 3 } };
  await expect(bundleFromWeights(root, { ...parts, profile: 'brain-mri', model })).rejects.toThrow(
    'decoder.reg_tokens',
  );
});

/** A disc in noise. */
function disc(i: number): Uint8Array {
  return Uint8Array.from({ length: SIDE * SIDE }, (_, j) => {
    const [x, y] = [(j % SIDE) / SIDE - 0.5, Math.floor(j / SIDE) / SIDE - 0.5];
    return x * x + y * y < 0.02 + 0.03 * i ? 90 + ((j * (7 + i)) % 40) : 10;
  });
}
