import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  addBundle,
  addWeights,
  mountWeights,
  openBundle,
  weightsFolder,
} from '../inference/bundle/registry.ts';
import type { Bundle } from '../inference/bundle/schema.ts';
import { fitCalibration } from '../inference/calibration.ts';
import { initialValues, parameterShapes } from '../inference/model/initial-values.ts';
import type { MountedWeights } from '../inference/model/parameters.ts';
import { normalise, resize } from '../inference/preprocess.ts';
import { readFloats } from '../inference/safetensors.ts';
import { sampleSlices } from '../inference/slice-sampling.ts';
import { Batches, batchesPerEpoch } from './batches.ts';
import { dropoutMask } from './dropout.ts';
import { Engine, freshState } from './engine.ts';
import type { EngineState } from './engine.ts';
import type { LossName } from './loss.ts';
import { uniformStream } from './philox.ts';
import { readRecords } from './run-log.ts';
import type { StepRecord } from './run-log.ts';
import { drawCurves, drawReconstructions } from './run-pictures.ts';
import { SliceCache, splitByPatient } from './slice-cache.ts';
import type { CachedSlice, PatientSplit } from './slice-cache.ts';
import { logPath, train } from './trainer.ts';
import {
  headParameters,
  isTrained,
  latentShape,
  qfaeEvaluationGraph,
  qfaeTrainingGraph,
} from './training-graph.ts';

/** The released code's only active dropout: on the Q-Former's output. */
const DROPOUT = 0.01;
/** Held-out slices of the run's pictures and of its held-out loss. */
const PREVIEWS = 4;
const REFERENCE_TOLERANCE = 1e-4;

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
  /** Share of the patients that is held out for calibration. */
  readonly heldOut: number;
  /** False-positive rate of the bundle's thresholds. */
  readonly alpha: number;
  readonly checkpointEvery: number;
  readonly threads?: number;
  readonly software: string;
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
  { base, split, totalSteps }: TrainingPlan,
  onStep: (record: StepRecord, totalSteps: number) => void,
  signal?: AbortSignal,
): Promise<Bundle | undefined> {
  const { runFolder, microBatch, batchSize, seed, loss, epochs, maximumRate, root } = options;
  const { model, profile } = base;
  const frozen = await mountWeights(root, base);
  const graphOptions = { model, frozen, microBatch, loss };
  const training = qfaeTrainingGraph(graphOptions);
  const engine = await Engine.open({
    training,
    evaluation: qfaeEvaluationGraph(graphOptions, profile.reductions),
    weightsFolder: weightsFolder(root),
    ...(options.threads === undefined ? {} : { threads: options.threads }),
  });
  const batches = new Batches({
    cacheFolder: options.cacheFolder,
    slices: split.train,
    batchSize,
    microBatch,
    imageSize: model.imageSize,
    normalisation: profile.preprocessing,
    seed,
  });
  const cache = await SliceCache.open(options.cacheFolder);
  const evaluation = new Evaluation(engine, cache, base, microBatch);
  await mkdir(join(runFolder, 'previews'), { recursive: true });
  try {
    const steps = await train({
      folder: runFolder,
      settings: JSON.stringify({
        base: base.id,
        slices: createHash('sha256').update(JSON.stringify(split.train)).digest('hex'),
        ...{ seed, loss, epochs, batchSize, microBatch, maximumRate, continue: options.continueBase },
      }),
      engine,
      batches,
      schedule: { maximumRate, totalSteps },
      initialState: () =>
        options.continueBase
          ? stateOf(frozen, training.parameters)
          : randomState(base, training.parameters, seed),
      feeds: (x, micro) => {
        const dims = [microBatch, ...latentShape(model)];
        const mask = new Float32Array(dims.reduce((product, size) => product * size, 1));
        dropoutMask(mask, DROPOUT, uniformStream(seed, 'dropout', micro));
        return {
          x: { data: x, dims: [microBatch, 3, model.imageSize, model.imageSize] },
          dropout: { data: mask, dims },
        };
      },
      checkpointEvery: options.checkpointEvery,
      evaluate: async (step) => {
        const heldOutLoss = await evaluation.preview(
          split.heldOut,
          join(runFolder, 'previews', `step-${String(step).padStart(7, '0')}.png`),
        );
        await drawCurves(runFolder, await readRecords(logPath(runFolder)));
        return heldOutLoss;
      },
      onStep,
      ...(signal ? { signal } : {}),
    });
    if (steps < totalSteps) return undefined;
    return await makeBundle(options, base, split, engine, evaluation);
  } finally {
    await batches.close();
    await engine.close();
    await cache.close();
  }
}

/** The model as it is now, on slices without augmentation. */
class Evaluation {
  readonly #engine: Engine;
  readonly #cache: SliceCache;
  readonly #base: Bundle;
  readonly #microBatch: number;

  constructor(engine: Engine, cache: SliceCache, base: Bundle, microBatch: number) {
    this.#engine = engine;
    this.#cache = cache;
    this.#base = base;
    this.#microBatch = microBatch;
  }

  /** A slice on the model's grid. */
  async pixels(slice: CachedSlice): Promise<Uint8Array> {
    return resize(await this.#cache.read(slice), this.#base.model.imageSize);
  }

  /** Results of one micro-batch; a short one is filled up with its last slice. */
  async run(slices: readonly CachedSlice[]) {
    const { model, profile } = this.#base;
    const values = 3 * model.imageSize ** 2;
    const x = new Float32Array(this.#microBatch * values);
    for (let i = 0; i < this.#microBatch; i++) {
      const pixels = await this.pixels(slices[Math.min(i, slices.length - 1)]);
      normalise(pixels, profile.preprocessing, x.subarray(i * values, (i + 1) * values));
    }
    const dims = [this.#microBatch, 3, model.imageSize, model.imageSize];
    const results = await this.#engine.evaluate({ x: { data: x.slice(), dims } });
    return { x, results };
  }

  /** Draws the first slices of different patients; returns their loss. */
  async preview(heldOut: readonly CachedSlice[], path: string): Promise<number> {
    const firsts = [...Map.groupBy(heldOut, ({ patient }) => patient).values()].map(
      (slices) => slices[Math.floor(slices.length / 2)],
    );
    const count = Math.min(PREVIEWS, this.#microBatch, firsts.length);
    const { x, results } = await this.run(firsts.slice(0, count));
    const side = this.#base.model.imageSize;
    const { map, reconstruction } = results;
    const shown = { count, side, x, reconstruction: reconstruction.data, map: map.data };
    await drawReconstructions(path, shown, this.#base.profile.preprocessing);
    return results['loss'].data[0];
  }

  /** Score and maps of a study. */
  async study(slices: readonly CachedSlice[]): Promise<{ rawScore: number; maps: Float32Array[] }> {
    const maps: Float32Array[] = [];
    let rawScore = -Infinity;
    const pixels = this.#base.model.imageSize ** 2;
    for (let start = 0; start < slices.length; start += this.#microBatch) {
      const part = slices.slice(start, start + this.#microBatch);
      const { score, map } = (await this.run(part)).results;
      part.forEach((_, i) => {
        rawScore = Math.max(rawScore, score.data[i]);
        maps.push(map.data.slice(i * pixels, (i + 1) * pixels));
      });
    }
    return { rawScore, maps };
  }
}

/** The trained head as a bundle, calibrated on one study of each held-out patient. */
async function makeBundle(
  options: QfaeTrainingOptions,
  { id, model, profile, weights }: Bundle,
  { train: trained, heldOut }: PatientSplit,
  engine: Engine,
  evaluation: Evaluation,
): Promise<Bundle> {
  const tensors = new Map(
    [...(await engine.state())].map(([name, { shape, weight }]) => [name, { shape, values: weight }]),
  );
  const shapes = parameterShapes(model);
  for (const { name, shape } of headParameters(model).filter(({ name }) => !isTrained(name))) {
    tensors.set(name, { shape: [...shape], values: initialValues(name, shapes, Math.random) });
  }
  const head = await addWeights(options.root, '', tensors);

  const studies = [...Map.groupBy(heldOut, ({ patient }) => patient).values()].map((slices) =>
    slices.filter(({ study }) => study === slices[0].study),
  );
  const normals = [];
  for (const slices of studies) {
    // A study is scored by the profile's sample of its slices: so is what it is compared with.
    const sample = sampleSlices(slices.length, profile).map((i) => slices[i]);
    normals.push(await evaluation.study(sample));
  }
  const [[reference]] = studies;
  const { rawScore } = await evaluation.study([reference]);
  return addBundle(options.root, {
    schemaVersion: 1,
    name: options.profile,
    title: `QFAE ${options.profile}`,
    profile: { ...profile, name: options.profile },
    model,
    weights,
    heads: [{ name: 'qfae', weights: [head] }],
    calibration: fitCalibration(normals, options.alpha),
    provenance: {
      software: options.software,
      origin: 'trained',
      seed: options.seed,
      trainingStudies: new Set(trained.map(({ study }) => study)).size,
      calibrationStudies: normals.length,
      studyHashes: [...new Set([...trained, ...heldOut].map(({ study }) => study))],
      predecessor: id,
    },
    reference: {
      pixels: Buffer.from(await evaluation.pixels(reference)).toString('base64'),
      rawScore,
      tolerance: REFERENCE_TOLERANCE,
    },
    metrics: {},
  });
}

type Parameters = readonly { readonly name: string; readonly shape: readonly number[] }[];

/** Random weights, decided by the seed. */
function randomState({ model }: Bundle, parameters: Parameters, seed: number): EngineState {
  const shapes = parameterShapes(model);
  return freshState(
    parameters.map(({ name, shape }, i) => [
      name,
      shape,
      initialValues(name, shapes, uniformStream(seed, 'initial', i)),
    ]),
  );
}

/** The weights of a bundle's head. */
async function stateOf(mounts: readonly MountedWeights[], parameters: Parameters): Promise<EngineState> {
  return freshState(
    await Promise.all(
      parameters.map(async ({ name, shape }) => {
        const mount = mounts.find(
          ({ prefix, file }) => name.startsWith(prefix) && file.tensors.has(name.slice(prefix.length)),
        );
        if (!mount) throw new Error(`the bundle that is continued holds no ${name}`);
        return [name, shape, await readFloats(mount.file, name.slice(mount.prefix.length))] as const;
      }),
    ),
  );
}
