import { Worker } from 'node:worker_threads';
import type { TensorValue } from '../inference/session.ts';
import type { EngineMethods } from './engine-worker.ts';
import type { TrainingGraph } from './training-graph.ts';

export interface EngineOptions {
  readonly training: TrainingGraph;
  /** Inputs: the trained parameters and data; run by `evaluate`. */
  readonly evaluation?: Uint8Array;
  /** Where the frozen weights of the graphs lie. */
  readonly weightsFolder?: string;
  /** Threads of onnxruntime within an operator. The same number gives the same bits. */
  readonly threads?: number;
}

export type Feeds = Readonly<Record<string, TensorValue>>;

/** A trained parameter with Adam's two moments. */
export interface ParameterState {
  readonly shape: readonly number[];
  readonly weight: Float32Array;
  readonly mean: Float32Array;
  readonly square: Float32Array;
}

export type EngineState = ReadonlyMap<string, ParameterState>;

export interface EngineRequest {
  readonly id: number;
  readonly method: keyof EngineMethods;
  readonly argument: unknown;
}

/** What an engine asks of its thread. */
export type EngineCommand = EngineRequest | 'close';

/** The first reply has id 0 and says that the engine is open. */
export type EngineReply =
  { readonly id: number; readonly result: unknown } | { readonly id: number; readonly error: string };

/** The state before the first step: given weights, moments of zero. */
export function freshState(
  weights: Iterable<readonly [name: string, shape: readonly number[], weight: Float32Array]>,
): EngineState {
  return new Map(
    Array.from(weights, ([name, shape, weight]) => [
      name,
      { shape, weight, mean: new Float32Array(weight.length), square: new Float32Array(weight.length) },
    ]),
  );
}

/**
 * Trains on the CPU, in a thread of its own: a gradient graph, gradients of micro-batches summed, then Adam in
 * place. Calls are done in their order.
 *
 * @example
 * const engine = await Engine.open({ training: qfaeTrainingGraph(options) });
 * await engine.load(state);
 * const loss = await engine.accumulate({ x, dropout });
 * await engine.update({ rate, beta1, step: 1 });
 */
export class Engine {
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  #lastId = 0;
  #ended: Error | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (reply: EngineReply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ('error' in reply) waiting?.reject(new Error(reply.error));
      else waiting?.resolve(reply.result as never);
    });
    worker.on('error', (error) => {
      this.#end(new Error(`the training thread failed: ${String(error)}`, { cause: error }));
    });
    this.#exited = new Promise((resolve) => worker.once('exit', resolve));
    worker.on('exit', () => {
      this.#end(new Error('the training thread has ended'));
    });
  }

  /** Throws if onnxruntime refuses a graph or a weight file is missing. */
  static async open(options: EngineOptions): Promise<Engine> {
    const worker = new Worker(new URL('./engine-worker.ts', import.meta.url), { workerData: options });
    const engine = new Engine(worker);
    try {
      await new Promise((resolve, reject) => engine.#waiting.set(0, { resolve, reject }));
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  /** Sets parameters and moments. Throws if one is missing or has another size. */
  load(tensors: EngineState): Promise<void> {
    return this.#call('load', { tensors });
  }

  /** Adds the gradients of a micro-batch to those since the last update; returns its loss. */
  accumulate(feeds: Feeds): Promise<number> {
    return this.#call('accumulate', { feeds }, buffers(feeds));
  }

  /**
   * One Adam step with the mean of the accumulated gradients; `step` counts from 1. Returns the norm of that mean.
   * Throws, and leaves the parameters as they are, if it is not a finite number.
   */
  update(settings: { rate: number; beta1: number; step: number }): Promise<number> {
    return this.#call('update', settings);
  }

  /** Runs the evaluation graph on the parameters as they are. */
  evaluate(feeds: Feeds): Promise<Record<string, TensorValue>> {
    return this.#call('evaluate', { feeds }, buffers(feeds));
  }

  /** The gradients of the last micro-batch. */
  gradients(): Promise<ReadonlyMap<string, Float32Array>> {
    return this.#call('gradients', undefined);
  }

  /** A copy of parameters and moments. */
  state(): Promise<EngineState> {
    return this.#call('state', undefined);
  }

  /** Rejects what is in progress and waits for the thread to end, as `Session.close` does and for its reason. */
  async close(): Promise<void> {
    this.#end(new Error('the training engine was closed'));
    this.#worker.postMessage('close' satisfies EngineCommand);
    await this.#exited;
  }

  #call<T>(method: keyof EngineMethods, argument: unknown, transfer: ArrayBuffer[] = []): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended);
        return;
      }
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, argument } satisfies EngineRequest, transfer);
    });
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}

/** What moves to the thread instead of being copied. */
function buffers(feeds: Feeds): ArrayBuffer[] {
  return Object.values(feeds).map(({ data }) => data.buffer as ArrayBuffer);
}
