import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomStream } from '../fixtures/random.ts';
import { verifyBundle } from '../inference/bundle/verify.ts';
import { keepMatrix } from './mae-graph.ts';
import { planPretraining, pretrain, pretrainingModels } from './pretrain.ts';
import type { StepRecord } from './run-log.ts';
import { addSlices } from './slice-cache.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pretrain-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('a masked autoencoder learns from a cache and becomes a bundle that verifies', async () => {
  const stripes = Array.from({ length: 16 }, (_, patient) => ({
    pixels: Uint8Array.from({ length: 32 * 32 }, (_, i) => 20 * Math.floor((i % 32) / (3 + (patient % 4)))),
    ...{ rows: 32, columns: 32, patient: `${patient}`, study: '1' },
  }));
  await addSlices(join(folder, 'cache'), stripes);
  const options = {
    root: join(folder, 'data'),
    cacheFolder: join(folder, 'cache'),
    runFolder: join(folder, 'run'),
    profile: 'stripes',
    model: pretrainingModels.tiny,
    alpha: 0.2,
    seed: 1,
    software: 'qfae test',
    epochs: 5,
    batchSize: 4,
    microBatch: 4,
    maximumRate: 3e-3,
    heldOut: 0.2,
    checkpointEvery: 100,
    threads: 1,
  };
  const steps: StepRecord[] = [];
  const bundle = await pretrain(options, await planPretraining(options), (record) => steps.push(record));
  expect(steps).toHaveLength(15);
  expect(steps.at(-1)!.loss).toBeLessThan(0.9 * steps[0].loss);
  // Encoder and perceptual model are one file.
  expect(new Set(bundle!.weights.map(({ sha256 }) => sha256)).size).toBe(1);
  expect(bundle!.provenance.origin).toBe('untrained');
  await verifyBundle(options.root, bundle!.id);
});

test('a quarter of the patches is kept, each once', () => {
  const { vit, qfae } = pretrainingModels.small;
  const keep = keepMatrix({ imageSize: qfae.imageSize, vit, microBatch: 2 }, randomStream(1, 'keep'));
  expect(keep).toHaveLength(2 * 49 * 196);
  const columns = Array.from({ length: 196 }, (_, patch) =>
    keep.subarray(0, 49 * 196).reduce((sum, value, i) => sum + (i % 196 === patch ? value : 0), 0),
  );
  expect(columns.filter((sum) => sum === 1)).toHaveLength(49);
  expect(columns.filter((sum) => sum === 0)).toHaveLength(147);
});
