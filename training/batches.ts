import { Worker } from 'node:worker_threads';
import type { Manifest } from '../inference/bundle/schema.ts';
import { shuffled, uniformStream } from './philox.ts';
import type { CachedSlice } from './slice-cache.ts';

export interface BatchOptions {
  readonly cacheFolder: string;
  readonly slices: readonly CachedSlice[];
  /** Slices in an optimiser step. */
  readonly batchSize: number;
  /** Slices in one run of the graph; divides `batchSize`. */
  readonly microBatch: number;
  /** Side of the model's grid. */
  readonly imageSize: number;
  /** As the profile scores. */
  readonly preprocessing: Manifest['profile']['preprocessing'];
  readonly seed: number;
  /** Whether half of the slices are turned upside down; they are if left out. */
  readonly verticalFlip?: boolean;
  /** Threads that prepare batches. */
  readonly threads?: number;
}

/** What a thread does for one micro-batch. */
export interface PreparationTask {
  readonly id: number;
  readonly slices: readonly { readonly slice: CachedSlice; readonly position: number }[];
}

export type PreparationOptions = Pick<
  BatchOptions,
  'cacheFolder' | 'imageSize' | 'preprocessing' | 'seed' | 'verticalFlip'
>;

export type PreparationReply =
  { readonly id: number; readonly x: Float32Array } | { readonly id: number; readonly error: string };

/** Batches in an epoch: what does not fill one is dropped, and is drawn again in another epoch's order. */
export function batchesPerEpoch(slices: number, batchSize: number): number {
  return Math.floor(slices / batchSize);
}

/** The default of a micro-batch, where it divides the batch. */
const MICRO_BATCH = 4;

/**
 * The micro-batch of a run: the one that is asked for, or else the largest up to 4 that divides the batch. Throws if
 * the one that is asked for does not.
 */
export function microBatchFor(batchSize: number, asked?: number): number {
  let size = asked ?? MICRO_BATCH;
  if (asked === undefined) while (batchSize % size !== 0) size -= 1;
  if (batchSize % size === 0) return size;
  throw new Error(`a batch of ${batchSize} does not consist of micro-batches of ${size}`);
}

/** Steps that are prepared ahead. */
const AHEAD = 2;

/**
 * The batches of a run, augmented in worker threads while the model computes. What step n sees depends on seed, slices
 * and n alone: a run that is resumed goes on with the same pictures.
 */
export class Batches {
  readonly #options: BatchOptions;
  readonly #workers: Worker[];
  readonly #waiting = new Map<
    number,
    { resolve: (x: Float32Array) => void; reject: (error: Error) => void }
  >();
  readonly #prepared = new Map<number, Promise<Float32Array>[]>();
  #lastId = 0;

  /** Throws if there are too few slices for a batch, or the micro-batch does not divide it. */
  constructor(options: BatchOptions) {
    const { slices, batchSize, microBatch, threads = 1 } = options;
    if (slices.length < batchSize) {
      throw new Error(`${slices.length} training slices do not fill a batch of ${batchSize}`);
    }
    microBatchFor(batchSize, microBatch);
    this.#options = options;
    const { cacheFolder, imageSize, preprocessing, seed, verticalFlip = true } = options;
    const workerData: PreparationOptions = { cacheFolder, imageSize, preprocessing, seed, verticalFlip };
    this.#workers = Array.from({ length: threads }, () => {
      const worker = new Worker(new URL('./batch-worker.ts', import.meta.url), { workerData });
      worker.on('message', (reply: PreparationReply) => {
        const waiting = this.#waiting.get(reply.id);
        this.#waiting.delete(reply.id);
        if ('error' in reply) waiting?.reject(new Error(reply.error));
        else waiting?.resolve(reply.x);
      });
      const end = (error: Error) => {
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
      };
      worker.on('error', end);
      worker.on('exit', () => {
        end(new Error('a thread that prepares batches has ended'));
      });
      return worker;
    });
  }

  /** The micro-batches of a step, each (microBatch, 3, S, S), normalised; those that follow are begun. */
  step(step: number, lastStep = Infinity): readonly Promise<Float32Array>[] {
    const batch = this.#prepare(step);
    this.#prepared.delete(step);
    for (let next = step + 1; next <= Math.min(step + AHEAD, lastStep); next++) void this.#prepare(next);
    return batch;
  }

  async close(): Promise<void> {
    for (const batch of this.#prepared.values()) for (const x of batch) x.catch(() => undefined);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #prepare(step: number): Promise<Float32Array>[] {
    const existing = this.#prepared.get(step);
    if (existing) return existing;
    const { slices, batchSize, microBatch, seed } = this.#options;
    const perEpoch = batchesPerEpoch(slices.length, batchSize);
    const epoch = Math.floor(step / perEpoch);
    const order = shuffled(slices.length, uniformStream(seed, 'order', epoch));
    const first = (step % perEpoch) * batchSize;
    const batch = Array.from({ length: batchSize / microBatch }, (_, i) => {
      const start = first + i * microBatch;
      const drawn = [...order.subarray(start, start + microBatch)].map((index, j) => ({
        slice: slices[index],
        // Counts the slices of the whole run, so that each augmentation has numbers of its own.
        position: step * batchSize + i * microBatch + j,
      }));
      return this.#post(drawn);
    });
    // It is awaited later; until then a failure must not count as unhandled.
    for (const x of batch) x.catch(() => undefined);
    this.#prepared.set(step, batch);
    return batch;
  }

  #post(slices: PreparationTask['slices']): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve, reject });
      this.#workers[id % this.#workers.length].postMessage({ id, slices } satisfies PreparationTask);
    });
  }
}
