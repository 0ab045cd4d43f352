import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Bundle } from '../../inference/bundle/schema.ts';
import { batchesPerEpoch } from '../../training/batches.ts';
import { pretrain } from '../../training/pretrain.ts';
import { addSlices, indexPath, SliceCache } from '../../training/slice-cache.ts';
import type { CachedSlice, PatientSplit, SourceSlice } from '../../training/slice-cache.ts';
import { trainQfae } from '../../training/train-qfae.ts';
import { stepReport } from '../cli/step-report.ts';
import { version } from '../version.ts';
import type { Demonstration, Schedule } from './demonstration.ts';

const SEED = 1;
const ALPHA = 0.05;
const STEPS_TO_CHECKPOINT = 100;

/**
 * Pretrains and trains a demonstration bundle below `folder`, whose `data` is then a bundle registry that holds it.
 * What was done in an earlier call is not done again. Returns undefined if the signal was aborted: the same call
 * then goes on. The same call with the same number of threads makes the same bundle.
 */
export async function makeDemonstration(
  demonstration: Demonstration,
  folder: string,
  threads: number,
  signal: AbortSignal,
): Promise<Bundle | undefined> {
  const { name, note, model, series, reductions, pretraining, training, alpha = ALPHA } = demonstration;
  const split = await cacheStudies(demonstration, join(folder, 'cache'));
  const common = {
    root: join(folder, 'data'),
    cacheFolder: join(folder, 'cache'),
    profile: name,
    note,
    seed: SEED,
    alpha,
    // Neither is ever upside down.
    verticalFlip: false,
    checkpointEvery: STEPS_TO_CHECKPOINT,
    threads,
    // Of no effect: the split is given.
    heldOut: 0.2,
    software: `qfae ${version}`,
  };
  const steps = ({ epochs, batchSize }: Schedule) => epochs * batchesPerEpoch(split.train.length, batchSize);

  const base = await pretrain(
    {
      ...{ ...common, ...pretraining, model, series, reductions },
      ...{ microBatch: pretraining.batchSize, runFolder: join(folder, 'pretraining') },
    },
    // The head is still random: one slice of a patient is enough to say so.
    { split: { ...split, heldOut: firstOfEach(split.heldOut) }, totalSteps: steps(pretraining) },
    stepReport(undefined, pretraining.batchSize),
    signal,
  );
  if (!base) return undefined;
  return trainQfae(
    {
      ...{ ...common, ...training, base: base.id, continueBase: false },
      ...{ microBatch: training.batchSize, runFolder: join(folder, 'training') },
    },
    { base, split, totalSteps: steps(training) },
    stepReport(undefined, training.batchSize),
    signal,
  );
}

/** Writes the slice cache if it is not there. */
async function cacheStudies(demonstration: Demonstration, folder: string): Promise<PatientSplit> {
  if (!existsSync(indexPath(folder))) {
    // The identifiers are public, or seeds: a fixed salt makes the same cache, and so the same bundle.
    await addSlices(folder, slicesOf(demonstration), demonstration.name);
  }
  const cache = await SliceCache.open(folder);
  await cache.close();
  const patients = [...new Set(cache.slices.map(({ patient }) => patient))];
  const held = new Set(patients.slice(-demonstration.calibrationPatients));
  const { heldOut = [], train = [] } = Object.groupBy(cache.slices, ({ patient }) =>
    held.has(patient) ? 'heldOut' : 'train',
  );
  return { train, heldOut };
}

async function* slicesOf({
  trainingStudies,
  calibrationStudies,
}: Demonstration): AsyncGenerator<SourceSlice> {
  for (const studies of [trainingStudies(), calibrationStudies()]) {
    for await (const { patient, study, slices } of studies) {
      for (const { rows, columns, pixels } of slices) yield { rows, columns, pixels, patient, study };
    }
  }
}

function firstOfEach(slices: readonly CachedSlice[]): CachedSlice[] {
  return [...Map.groupBy(slices, ({ patient }) => patient).values()].map(([first]) => first);
}
