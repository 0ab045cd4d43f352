import { mountWeights, openBundle, weightsFolder } from './bundle/registry.ts';
import { calibrationOf } from './bundle/schema.ts';
import type { Bundle } from './bundle/schema.ts';
import { BatchLimit } from './batch-limit.ts';
import { calibrate } from './calibration.ts';
import type { CalibratedScore } from './calibration.ts';
import type { ExecutionProvider } from './execution-provider.ts';
import { prepare } from './prepare.ts';
import { denormalise, normalise } from './preprocess.ts';
import type { Affine, InputSlice } from './preprocess.ts';
import { scoringGraph } from './scoring-graph.ts';
import type { Precision } from './scoring-graph.ts';
import { Session } from './session.ts';

export type { Bundle, CalibratedScore, InputSlice };

/** What the model says of a slice. */
export interface RawSliceScore {
  readonly rawScore: number;
  /** mapRows × mapColumns, row-major; higher is more abnormal. */
  readonly map: Float32Array;
  /** What the model made of the slice: 8-bit grey, mapRows × mapColumns, row-major. */
  readonly reconstruction: Uint8Array;
  readonly mapRows: number;
  readonly mapColumns: number;
  readonly gridToSlice: Affine;
}

/**
 * A slice's score. It is compared with the scores of normal studies, each the largest of its slices: the study's
 * own values are those of its highest slice.
 */
export type SliceScore = RawSliceScore & CalibratedScore;

export interface ScorerOptions {
  /** Slices that run through the model together, at most: fewer where memory does not suffice. */
  readonly batchSize?: number;
  /** Threads of onnxruntime within an operator; its own choice if left out. */
  readonly threads?: number;
  /** Default: `cpu`. It must work here: see `chooseRuntime`. */
  readonly provider?: ExecutionProvider;
  /** Default: `float32`. */
  readonly precision?: Precision;
}

/** A slice ready for the model. */
interface Prepared {
  /** (3, S, S) */
  readonly input: Float32Array;
  readonly gridToSlice: Affine;
}

/**
 * Scores slices with a bundle, in a thread of its own.
 *
 * @example
 * const scorer = await Scorer.open('data', 'brain-mri');
 * const scores = [];
 * for await (const score of scorer.score(slices)) scores.push(score);
 * const study = scorer.studyScore(scores);
 * await scorer.close();
 */
export class Scorer {
  readonly bundle: Bundle;
  readonly #session: Session;
  readonly #batches: BatchLimit;

  private constructor(bundle: Bundle, session: Session, batchSize: number) {
    this.bundle = bundle;
    this.#session = session;
    this.#batches = new BatchLimit(batchSize);
  }

  /** Opens a bundle by ID or name. Throws if it is damaged, or a weight file is missing. */
  static async open(
    root: string,
    bundleReference: string,
    { batchSize = 4, threads, provider = 'cpu', precision = 'float32' }: ScorerOptions = {},
  ): Promise<Scorer> {
    if (!Number.isInteger(batchSize) || batchSize < 1)
      throw new Error(`batchSize ${batchSize} is not positive`);
    const bundle = await openBundle(root, bundleReference);
    if (bundle.heads.length !== 1) {
      throw new Error(`bundle ${bundle.id} is an ensemble of ${bundle.heads.length} heads; QFAE has one`);
    }
    const session = await Session.open({
      graph: scoringGraph(bundle, await mountWeights(root, bundle), {
        precision,
        reconstruction: true,
      }).toBytes(),
      weightsFolder: weightsFolder(root),
      provider,
      ...(threads === undefined ? {} : { threads }),
    });
    return new Scorer(bundle, session, batchSize);
  }

  /**
   * Scores in order, as the slices come. While one batch runs, the next is prepared; no more than two batches
   * are held. Throws if the bundle is not calibrated, the thread ends, or, with the signal's reason, when the
   * signal is aborted.
   */
  async *score(
    slices: Iterable<InputSlice> | AsyncIterable<InputSlice>,
    signal?: AbortSignal,
  ): AsyncGenerator<SliceScore, void, undefined> {
    const calibration = calibrationOf(this.bundle);
    for await (const raw of this.scoreRaw(slices, signal)) {
      yield { ...raw, ...calibrate(calibration, raw.rawScore) };
    }
  }

  /** As `score`, of a bundle that need not be calibrated. */
  async *scoreRaw(
    slices: Iterable<InputSlice> | AsyncIterable<InputSlice>,
    signal?: AbortSignal,
  ): AsyncGenerator<RawSliceScore, void, undefined> {
    const run = (batch: Prepared[]) => {
      const scores = withSignal(
        this.#batches.run(batch, (part) => this.#run(part)),
        signal,
      );
      // It is awaited after the next batch was prepared; until then a failure must not count as unhandled.
      scores.catch(() => undefined);
      return scores;
    };
    let running: Promise<RawSliceScore[]> | undefined;
    let batch: Prepared[] = [];
    for await (const slice of slices) {
      signal?.throwIfAborted();
      batch.push(this.#prepare(slice));
      if (batch.length < this.#batches.size) continue;
      const previous = running;
      running = run(batch);
      batch = [];
      if (previous) yield* await previous;
    }
    if (running) yield* await running;
    if (batch.length > 0) yield* await run(batch);
  }

  /** The study's score: the highest of its slices. Throws if there is none. */
  studyScore(scores: readonly Pick<CalibratedScore, 'rawScore'>[]): CalibratedScore {
    if (scores.length === 0) throw new Error('a study without scored slices has no score');
    const highest = scores.reduce((max, { rawScore }) => Math.max(max, rawScore), -Infinity);
    return calibrate(calibrationOf(this.bundle), highest);
  }

  /** Whether the thread is gone: the scorer must be opened again. */
  get ended(): boolean {
    return this.#session.ended;
  }

  /** Ends the thread; what is in progress is rejected. */
  close(): Promise<void> {
    return this.#session.close();
  }

  #prepare(slice: InputSlice): Prepared {
    const { model, profile } = this.bundle;
    const input = new Float32Array(3 * model.imageSize ** 2);
    const { pixels, gridToSlice } = prepare(slice, profile.preprocessing, model.imageSize);
    normalise(pixels, profile.preprocessing, input);
    return { input, gridToSlice };
  }

  async #run(batch: readonly Prepared[]): Promise<RawSliceScore[]> {
    const size = this.bundle.model.imageSize;
    const data = new Float32Array(batch.length * 3 * size * size);
    batch.forEach(({ input }, i) => {
      data.set(input, i * input.length);
    });
    const { score, map, reconstruction } = await this.#session.run({
      x: { data, dims: [batch.length, 3, size, size] },
    });
    return batch.map((prepared, i) => ({
      rawScore: score.data[i],
      map: map.data.slice(i * size * size, (i + 1) * size * size),
      reconstruction: denormalise(
        reconstruction.data.subarray(3 * i * size * size, 3 * (i + 1) * size * size),
        this.bundle.profile.preprocessing,
      ),
      mapRows: size,
      mapColumns: size,
      gridToSlice: prepared.gridToSlice,
    }));
  }
}

/** Settles as `promise` does, or is rejected with the signal's reason when that comes first. */
async function withSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => {
    aborted.reject(signal.reason as Error);
  };
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
