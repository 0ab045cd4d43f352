import { createHash } from 'node:crypto';
import type { ExecutionProvider } from '../inference/execution-provider.ts';
import { addWeights, mountWeights, weightsFolder } from '../inference/bundle/registry.ts';
import type { Bundle, Manifest } from '../inference/bundle/schema.ts';
import type { ModelConfig, VitConfig } from '../inference/model/config.ts';
import { sincosPositions } from '../inference/model/decoder.ts';
import { initialValues } from '../inference/model/initial-values.ts';
import type { TensorValues } from '../inference/safetensors.ts';
import { Batches, batchesPerEpoch } from './batches.ts';
import { calibratedBundle, headTensors } from './calibrated-bundle.ts';
import type { BundleOptions } from './calibrated-bundle.ts';
import { Engine, freshState } from './engine.ts';
import type { Feeds, ParameterState } from './engine.ts';
import { Evaluation } from './evaluation.ts';
import { randomState } from './initial-state.ts';
import { keepMatrix, maeTrainingGraph, patchCounts } from './mae-graph.ts';
import { uniformStream } from './philox.ts';
import type { StepRecord } from './run-log.ts';
import { anySlices, secondsPerStep } from './seconds-per-step.ts';
import { SliceCache, splitByPatient } from './slice-cache.ts';
import type { PatientSplit } from './slice-cache.ts';
import { train } from './trainer.ts';
import { qfaeEvaluationGraph, qfaeTrainingGraph } from './training-graph.ts';
import type { TrainedParameter } from './training-graph.ts';

/** The architecture of what `pretrain` makes. */
export interface PretrainingModel {
  /** Trained as a masked autoencoder; encoder and perceptual model of the QFAE below. */
  readonly vit: VitConfig;
  /** Of the masked autoencoder; not kept. */
  readonly decoder: { readonly dim: number; readonly depth: number; readonly heads: number };
  readonly qfae: Pick<ModelConfig, 'imageSize' | 'qFormer' | 'decoder'> &
    Pick<ModelConfig['perceptual'], 'train' | 'score'>;
}

const plain = {
  patchSize: 16,
  mlpRatio: 4,
  registers: 0,
  noEmbedClass: false,
  layerScale: false,
  normPre: false,
  patchBias: true,
  normEps: 1e-6,
};

/** `small`: a ViT-Tiny (Touvron et al. 2021) at 224 px; `tiny`: to try things out. */
export const pretrainingModels = {
  small: {
    vit: { ...plain, dim: 192, depth: 12, heads: 3, positionGrid: 14 },
    decoder: { dim: 96, depth: 2, heads: 3 },
    qfae: {
      imageSize: 224,
      qFormer: { dim: 192, heads: 4, outputDim: 192 },
      decoder: { dim: 192, depth: 4, heads: 3, patchSize: 8, registers: 4, mlpRatio: 4 },
      train: { patchSizes: [32, 56], blocks: [7, 9] },
      score: { patchSizes: [16, 32, 56], blocks: [5, 7, 9] },
    },
  },
  tiny: {
    vit: { ...plain, dim: 64, depth: 5, heads: 4, positionGrid: 7 },
    decoder: { dim: 32, depth: 1, heads: 2 },
    qfae: {
      imageSize: 112,
      qFormer: { dim: 48, heads: 4, outputDim: 56 },
      decoder: { dim: 64, depth: 2, heads: 4, patchSize: 8, registers: 4, mlpRatio: 4 },
      train: { patchSizes: [28, 56], blocks: [2, 3] },
      score: { patchSizes: [16, 28, 56], blocks: [1, 2, 3] },
    },
  },
} as const satisfies Record<string, PretrainingModel>;

export type PretrainingModelName = keyof typeof pretrainingModels;

/** As the paper's brain task. */
const preprocessing = { mean: 0.449, std: 0.226 };

export interface PretrainingOptions extends Omit<BundleOptions, 'origin'> {
  readonly cacheFolder: string;
  /** The run's folder. */
  readonly runFolder: string;
  readonly model: PretrainingModel;
  /** Of the bundle's profile; the paper's brain task's if left out. */
  readonly reductions?: Manifest['profile']['reductions'];
  /** Which series the bundle's profile scores; any if left out. */
  readonly series?: Manifest['profile']['series'];
  readonly epochs: number;
  readonly batchSize: number;
  readonly microBatch: number;
  readonly maximumRate: number;
  readonly verticalFlip?: boolean;
  /** Share of the patients that neither this nor a later training sees. */
  readonly heldOut: number;
  readonly checkpointEvery: number;
  /** Where it is computed; a run that goes on elsewhere has the same steps but for rounding. */
  readonly provider?: ExecutionProvider;
  readonly threads?: number;
}

export interface PretrainingPlan {
  readonly split: PatientSplit;
  readonly totalSteps: number;
}

/** Checks that a run can be done and says how long it is. Throws with the reason if it cannot. */
export async function planPretraining(options: PretrainingOptions): Promise<PretrainingPlan> {
  const cache = await SliceCache.open(options.cacheFolder);
  await cache.close();
  const split = splitByPatient(cache.slices, options.heldOut, Math.ceil(1 / options.alpha) - 1);
  const perEpoch = batchesPerEpoch(split.train.length, options.batchSize);
  if (perEpoch === 0) {
    throw new Error(`${split.train.length} training slices do not fill a batch of ${options.batchSize}`);
  }
  return { split, totalSteps: options.epochs * perEpoch };
}

/**
 * Trains a small masked autoencoder on a cache and makes a bundle in which it is encoder and perceptual model, with a
 * head that is still random: what `train` starts from where no published weights are to be had. Undefined if
 * the signal was aborted before the end: the same call then goes on.
 */
export async function pretrain(
  options: PretrainingOptions,
  { split, totalSteps }: PretrainingPlan,
  onStep: (record: StepRecord, totalSteps: number) => void,
  signal?: AbortSignal,
): Promise<Bundle | undefined> {
  const { vit, decoder, qfae } = options.model;
  const { microBatch, batchSize, seed, epochs, maximumRate } = options;
  const { imageSize } = qfae;
  // A thread that stays open keeps the process: what is open is closed, wherever this fails.
  await using opened = new AsyncDisposableStack();
  const { training, engine } = await openEngine(options);
  opened.defer(() => engine.close());
  const batchOptions = {
    cacheFolder: options.cacheFolder,
    slices: split.train,
    batchSize,
    microBatch,
    imageSize,
    preprocessing,
    seed,
    verticalFlip: options.verticalFlip ?? true,
  };
  const batches = opened.adopt(new Batches(batchOptions), (batches) => batches.close());
  const steps = await train({
    folder: options.runFolder,
    settings: JSON.stringify({
      mae: { imageSize, vit, decoder },
      slices: createHash('sha256').update(JSON.stringify(split.train)).digest('hex'),
      ...{ seed, epochs, batchSize, microBatch, maximumRate },
      ...(options.verticalFlip === false && { verticalFlip: false }),
    }),
    engine,
    batches,
    schedule: { maximumRate, totalSteps },
    initialState: () => maeState(training.parameters, seed),
    feeds: (x, micro) => feedsOf(options, x, micro),
    checkpointEvery: options.checkpointEvery,
    onStep,
    ...(signal ? { signal } : {}),
  });
  if (steps < totalSteps) return undefined;
  const weights = await engine.weights();
  return await makeBundle(options, split, weights);
}

/** Seconds of an optimiser step, tried on this machine as it is now. Writes nothing. */
export async function timePretrainingStep(options: PretrainingOptions): Promise<number> {
  const { microBatch, model, seed } = options;
  const { training, engine } = await openEngine(options);
  try {
    const feeds = (micro: number) => feedsOf(options, anySlices(microBatch, model.qfae.imageSize), micro);
    return await secondsPerStep(engine, maeState(training.parameters, seed), feeds, options);
  } finally {
    await engine.close();
  }
}

async function openEngine({
  model: { vit, decoder, qfae },
  microBatch,
  provider,
  threads,
}: PretrainingOptions) {
  const training = maeTrainingGraph({ imageSize: qfae.imageSize, vit, decoder, microBatch });
  const engine = await Engine.open({
    training,
    ...(provider !== undefined && { provider }),
    ...(threads !== undefined && { threads }),
  });
  return { training, engine };
}

/** Inputs of micro-batch number `micro`, its masks drawn from the seed. */
function feedsOf({ model, microBatch, seed }: PretrainingOptions, x: Float32Array, micro: number): Feeds {
  const {
    vit,
    qfae: { imageSize },
  } = model;
  const { patches, visible } = patchCounts({ imageSize, vit });
  return {
    x: { data: x, dims: [microBatch, 3, imageSize, imageSize] },
    keep: {
      data: keepMatrix({ imageSize, vit, microBatch }, uniformStream(seed, 'masking', micro)),
      dims: [microBatch, visible, patches],
    },
  };
}

/** The bundle: the trained ViT under two names, a random head, calibrated on the held-out patients. */
async function makeBundle(
  options: PretrainingOptions,
  split: PatientSplit,
  trained: ReadonlyMap<string, TensorValues>,
): Promise<Bundle> {
  const { root, profile: name, microBatch, seed } = options;
  const { vit, qfae } = options.model;
  const { train, score, ...rest } = qfae;
  const model: ModelConfig = {
    ...rest,
    encoders: [{ vit, hiddenStates: [-2, -4] }],
    perceptual: { vit, train, score },
  };
  const profile: Manifest['profile'] = {
    name,
    ...(options.series && { series: options.series }),
    preprocessing,
    maxSlices: null,
    sampling: 'even',
    reductions: options.reductions ?? { image: 'max|mean', map: 'mean', study: 'max' },
  };
  const tensors = new Map([...trained].filter(([name]) => !/^(decoder|mask_token|norm\.)/.test(name)));
  const weights = [];
  for (const prefix of ['encoders.0.model.', 'perceptual.'])
    weights.push(await addWeights(root, prefix, tensors));
  const head = new Map(
    Array.from(randomState(model, seed), ([name, { shape, weight }]) => [name, { shape, values: weight }]),
  );
  const file = await addWeights(root, '', headTensors(model, head));
  const frozen = await mountWeights(root, { weights, heads: [{ name: 'qfae', weights: [file] }] });

  const graphOptions = { model, frozen, microBatch, loss: 'perceptual' as const };
  const engineOptions = {
    training: qfaeTrainingGraph(graphOptions),
    evaluation: qfaeEvaluationGraph(graphOptions, profile.reductions),
    weightsFolder: weightsFolder(root),
  };
  await using opened = new AsyncDisposableStack();
  const engine = opened.adopt(await Engine.open(engineOptions), (engine) => engine.close());
  const cache = opened.adopt(await SliceCache.open(options.cacheFolder), (cache) => cache.close());
  await engine.load(randomState(model, seed));
  const base = { model, profile, weights };
  const evaluation = new Evaluation(engine, cache, base, microBatch);
  return await calibratedBundle({ ...options, origin: 'untrained' }, base, split, head, evaluation);
}

/** Random weights; positions begin as sine and cosine. */
function* maeState(
  parameters: readonly TrainedParameter[],
  seed: number,
): Generator<[string, ParameterState]> {
  const shapes = new Map(parameters.map(({ name, shape }) => [name, shape]));
  for (const [i, { name, shape }] of parameters.entries()) {
    if (name === 'pos_embed') {
      const [, tokens, dim] = shape;
      const positions = new Float32Array(tokens * dim);
      positions.set(sincosPositions(dim, Math.sqrt(tokens - 1)), dim);
      yield [name, freshState(shape, positions)];
    } else {
      yield [name, freshState(shape, initialValues(name, shapes, uniformStream(seed, 'initial', i)))];
    }
  }
}
