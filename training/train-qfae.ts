import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mountWeights, openBundle, weightsFolder } from '../inference/bundle/registry.ts';
import type { Bundle } from '../inference/bundle/schema.ts';
import type { ExecutionProvider } from '../inference/execution-provider.ts';
import type { ModelConfig } from '../inference/model/config.ts';
import type { MountedWeights } from '../inference/model/parameters.ts';
import { readFloats } from '../inference/safetensors.ts';
import { Batches, batchesPerEpoch } from './batches.ts';
import { calibratedBundle } from './calibrated-bundle.ts';
import { dropoutMask } from './dropout.ts';
import { Engine, freshState } from './engine.ts';
import type { Feeds, ParameterState } from './engine.ts';
import { Evaluation } from './evaluation.ts';
import { randomState } from './initial-state.ts';
import type { LossName } from './loss.ts';
import { uniformStream } from './philox.ts';
import type { StepRecord } from './run-log.ts';
import { drawCurves } from './run-pictures.ts';
import { anySlices, secondsPerStep } from './seconds-per-step.ts';
import { SliceCache, splitByPatient } from './slice-cache.ts';
import type { CachedSlice, PatientSplit } from './slice-cache.ts';
import { train } from './trainer.ts';
import {
  headParameters,
  isTrained,
  latentShape,
  qfaeEvaluationGraph,
  qfaeTrainingGraph,
} from './training-graph.ts';
import type { TrainedParameter } from './training-graph.ts';

/** The released code's only active dropout: on the Q-Former's output. */
const DROPOUT = 0.01;

export interface QfaeTrainingOptions {
  /** Of the bundle registry. */
  readonly root: string;
  readonly cacheFolder: string;
  /** The run's folder. */
  readonly runFolder: string;
  /** The bundle that gives model, frozen weights and profile, by ID or name. */
  readonly base: string;
  /** Goes on from the trained weights of `base` instead of from random ones. */
  readonly continueBase: boolean;
  /** Name of the bundle and of its profile. */
  readonly profile: string;
  readonly loss: LossName;
  readonly epochs: number;
  readonly batchSize: number;
  readonly microBatch: number;
  readonly maximumRate: number;
  readonly seed: number;
  /** The paper's; false for what is never upside down. */
  readonly verticalFlip?: boolean;
  /** Share of the patients that is held out for calibration. */
  readonly heldOut: number;
  /** False-positive rate of the bundle's thresholds. */
  readonly alpha: number;
  readonly checkpointEvery: number;
  /** Where it is computed; a run that goes on elsewhere has the same steps but for rounding. */
  readonly provider?: ExecutionProvider;
  /** Less memory for more work: see `QfaeTraining`. */
  readonly checkpointing?: boolean;
  readonly threads?: number;
  readonly software: string;
  /** Of the bundle: what whoever looks at its scores should know. */
  readonly note?: string;
}

/** What a run will do, known before it begins. */
export interface TrainingPlan {
  readonly base: Bundle;
  readonly split: PatientSplit;
  readonly trainingPatients: number;
  readonly heldOutPatients: number;
  readonly totalSteps: number;
  /** Values that are trained. */
  readonly trainedValues: number;
}

/** Checks that a run can be done and says what it will do. Throws with the reason if it cannot. */
export async function planTraining(options: QfaeTrainingOptions): Promise<TrainingPlan> {
  const base = await openBundle(options.root, options.base);
  const cache = await SliceCache.open(options.cacheFolder);
  await cache.close();
  // The fewest for which a score can reach the false-positive rate at all.
  const split = splitByPatient(cache.slices, options.heldOut, Math.ceil(1 / options.alpha) - 1);
  const patients = (slices: readonly CachedSlice[]) => new Set(slices.map(({ patient }) => patient)).size;
  const perEpoch = batchesPerEpoch(split.train.length, options.batchSize);
  if (perEpoch === 0) {
    throw new Error(`${split.train.length} training slices do not fill a batch of ${options.batchSize}`);
  }
  return {
    base,
    split,
    trainingPatients: patients(split.train),
    heldOutPatients: patients(split.heldOut),
    totalSteps: options.epochs * perEpoch,
    trainedValues: headParameters(base.model)
      .filter(({ name }) => isTrained(name))
      .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0),
  };
}

/**
 * Trains QFAE on the normal slices of a cache and makes a bundle of it, calibrated on held-out patients. Returns the
 * bundle, or undefined if the signal was aborted before the end: the same call then goes on.
 */
export async function trainQfae(
  options: QfaeTrainingOptions,
  { base, split, totalSteps }: Pick<TrainingPlan, 'base' | 'split' | 'totalSteps'>,
  onStep: (record: StepRecord, totalSteps: number) => void,
  signal?: AbortSignal,
): Promise<Bundle | undefined> {
  const { runFolder, microBatch, batchSize, seed, loss, epochs, maximumRate, root } = options;
  const { model, profile } = base;
  const frozen = await mountWeights(root, base);
  // A thread that stays open keeps the process: what is open is closed, wherever this fails.
  await using opened = new AsyncDisposableStack();
  const engine = opened.adopt(await openEngine(options, base, frozen), (engine) => engine.close());
  const cache = opened.adopt(await SliceCache.open(options.cacheFolder), (cache) => cache.close());
  const batchOptions = {
    cacheFolder: options.cacheFolder,
    slices: split.train,
    batchSize,
    microBatch,
    imageSize: model.imageSize,
    preprocessing: profile.preprocessing,
    seed,
    verticalFlip: options.verticalFlip ?? true,
  };
  const batches = opened.adopt(new Batches(batchOptions), (batches) => batches.close());
  const evaluation = new Evaluation(engine, cache, base, microBatch);
  await mkdir(join(runFolder, 'previews'), { recursive: true });
  const steps = await train({
    folder: runFolder,
    settings: JSON.stringify({
      base: base.id,
      slices: createHash('sha256').update(JSON.stringify(split.train)).digest('hex'),
      ...{ seed, loss, epochs, batchSize, microBatch, maximumRate, continue: options.continueBase },
      ...(options.verticalFlip === false && { verticalFlip: false }),
    }),
    engine,
    batches,
    schedule: { maximumRate, totalSteps },
    initialState: () =>
      options.continueBase ? stateOf(frozen, engine.parameters) : randomState(model, seed),
    feeds: (x, micro) => feedsOf(options, model, x, micro),
    checkpointEvery: options.checkpointEvery,
    evaluate: async (step, log) => {
      const heldOutLoss = await evaluation.preview(
        split.heldOut,
        join(runFolder, 'previews', `step-${String(step).padStart(7, '0')}.png`),
      );
      await drawCurves(runFolder, log);
      return heldOutLoss;
    },
    onStep,
    ...(signal ? { signal } : {}),
  });
  if (steps < totalSteps) return undefined;
  const weights = await engine.weights();
  return await calibratedBundle({ ...options, origin: 'trained' }, base, split, weights, evaluation);
}

/** Seconds of an optimiser step, tried on this machine as it is now. Writes nothing. */
export async function timeStep(
  options: QfaeTrainingOptions,
  { base }: Pick<TrainingPlan, 'base'>,
): Promise<number> {
  const { model } = base;
  const { root, microBatch, seed } = options;
  const engine = await openEngine(options, base, await mountWeights(root, base));
  try {
    const feeds = (micro: number) => feedsOf(options, model, anySlices(microBatch, model.imageSize), micro);
    return await secondsPerStep(engine, randomState(model, seed), feeds, options);
  } finally {
    await engine.close();
  }
}

async function openEngine(
  { root, microBatch, loss, checkpointing = false, provider, threads }: QfaeTrainingOptions,
  { model, profile }: Bundle,
  frozen: readonly MountedWeights[],
): Promise<Engine> {
  const graphOptions = { model, frozen, microBatch, loss, checkpointing };
  return Engine.open({
    training: qfaeTrainingGraph(graphOptions),
    evaluation: qfaeEvaluationGraph(graphOptions, profile.reductions),
    weightsFolder: weightsFolder(root),
    ...(provider !== undefined && { provider }),
    ...(threads !== undefined && { threads }),
  });
}

/** Inputs of micro-batch number `micro`, its dropout drawn from the seed. */
function feedsOf(
  { microBatch, seed }: QfaeTrainingOptions,
  model: ModelConfig,
  x: Float32Array,
  micro: number,
): Feeds {
  const dims = [microBatch, ...latentShape(model)];
  const mask = new Float32Array(dims.reduce((product, size) => product * size, 1));
  dropoutMask(mask, DROPOUT, uniformStream(seed, 'dropout', micro));
  return {
    x: { data: x, dims: [microBatch, 3, model.imageSize, model.imageSize] },
    dropout: { data: mask, dims },
  };
}

/** The weights of a bundle's head. */
async function* stateOf(
  mounts: readonly MountedWeights[],
  parameters: readonly TrainedParameter[],
): AsyncGenerator<[string, ParameterState]> {
  for (const { name, shape } of parameters) {
    const mount = mounts.find(
      ({ prefix, file }) => name.startsWith(prefix) && file.tensors.has(name.slice(prefix.length)),
    );
    if (!mount) throw new Error(`the bundle that is continued holds no ${name}`);
    yield [name, freshState(shape, await readFloats(mount.file, name.slice(mount.prefix.length)))];
  }
}
