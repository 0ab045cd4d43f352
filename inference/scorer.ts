import { Piscina } from 'piscina';
import { mountWeights, openBundle, weightsFolder } from './bundle/registry.ts';
import { calibrationOf } from './bundle/schema.ts';
import type { Bundle } from './bundle/schema.ts';
import { BatchLimit } from './batch-limit.ts';
import { calibrate } from './calibration.ts';
import type { CalibratedScore } from './calibration.ts';
import type { ExecutionProvider } from './execution-provider.ts';
import type { Preparation, Prepared } from './prepare-worker.ts';
import { denormalise } from './preprocess.ts';
import type { Affine, InputSlice } from './preprocess.ts';
import { scorePicture } from './score-picture.ts';
import { scoringGraph } from './scoring-graph.ts';
import type { Precision } from './precision.ts';
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

/**
 * How far a reference score may move for the precision alone, as a part of it; the bundle's own tolerance, for
 * another machine's rounding, is added.
 */
const PRECISION_TOLERANCE: Readonly<Record<Precision, number>> = { float32: 0, float16: 0.02, int8: 0.1 };

/**
 * Scores slices with a bundle, in threads of its own: one prepares slices, one runs the model.
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
  /** What the model's matrix products are computed in. */
  readonly precision: Precision;
  /** What the bundle's reference image scored when the scorer was opened. */
  readonly referenceScore: number;
  readonly #session: Session;
  readonly #preparation: Piscina<Preparation, Prepared>;
  readonly #batches: BatchLimit;

  private constructor(
    bundle: Bundle,
    session: Session,
    batchSize: number,
    precision: Precision,
    referenceScore: number,
  ) {
    this.bundle = bundle;
    this.precision = precision;
    this.referenceScore = referenceScore;
    this.#session = session;
    this.#preparation = new Piscina({
      filename: new URL('prepare-worker.ts', import.meta.url).href,
      minThreads: 1,
      maxThreads: 1,
    });
    this.#batches = new BatchLimit(batchSize);
  }

  /**
   * Opens a bundle by ID or name. Throws if it is damaged, a weight file is missing, or its reference image does not
   * score here what it scored when the bundle was made: then no score of it could be trusted.
   */
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
      prepack: precision === 'int8',
      ...(threads === undefined ? {} : { threads }),
    });
    try {
      const score = await checkReference(session, bundle, precision);
      // 8-bit products round all images of a run together: alone, a slice's score depends on nothing else.
      return new Scorer(bundle, session, precision === 'int8' ? 1 : batchSize, precision, score);
    } catch (error) {
      await session.close();
      throw error;
    }
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
      batch.push(await this.#prepare(slice));
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

  /** Ends the threads; what is in progress is rejected. */
  async close(): Promise<void> {
    await Promise.all([this.#session.close(), this.#preparation.destroy()]);
  }

  async #prepare({ pixels, rows, columns, mask }: InputSlice): Promise<Prepared> {
    const { model, profile } = this.bundle;
    // Copies: a view would take the whole buffer that it lies in to the thread.
    const slice = {
      pixels: new Uint8Array(pixels),
      rows,
      columns,
      ...(mask && { mask: new Uint8Array(mask) }),
    };
    try {
      return await this.#preparation.run({
        slice,
        preprocessing: profile.preprocessing,
        size: model.imageSize,
      });
    } catch (error) {
      if (!this.ended) throw error;
      throw new Error('the scorer was closed; open it again', { cause: error });
    }
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

/** The score of the reference image. Throws if it is not, within what the precision explains, the stored one. */
async function checkReference(session: Session, bundle: Bundle, precision: Precision): Promise<number> {
  const { pixels, rawScore, tolerance } = bundle.reference;
  const side = bundle.model.imageSize;
  const picture = { pixels: Buffer.from(pixels, 'base64'), rows: side, columns: side };
  const score = (await scorePicture(session, bundle, picture)).rawScore;
  const permitted = tolerance + PRECISION_TOLERANCE[precision] * Math.abs(rawScore);
  if (Math.abs(score - rawScore) <= permitted) return score;
  throw new Error(
    `bundle ${bundle.id}: its reference image scores ${score} instead of ${rawScore} ± ${permitted}`,
  );
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
