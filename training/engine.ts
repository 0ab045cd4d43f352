import { Worker } from 'node:worker_threads';
import type { TensorValues } from '../inference/safetensors.ts';
import type { TensorValue } from '../inference/session.ts';
import type { EngineMethods } from './engine-worker.ts';
import type { TrainedParameter, TrainingGraph } from './training-graph.ts';

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

/** What is known of each parameter: itself, Adam's moments, the sum of its gradients since the last update. */
export type Quantity = 'weight' | 'mean' | 'square' | 'gradient';

/** Parameters with their moments, one after the other, so that all of them need never be held. */
export type EngineState =
  | Iterable<readonly [name: string, state: ParameterState]>
  | AsyncIterable<readonly [name: string, state: ParameterState]>;

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

/** A parameter before the first step: moments of zero. */
export function freshState(shape: readonly number[], weight: Float32Array): ParameterState {
  return { shape, weight, mean: new Float32Array(weight.length), square: new Float32Array(weight.length) };
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
  readonly parameters: readonly TrainedParameter[];
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  #lastId = 0;
  #ended: Error | undefined;

  private constructor(worker: Worker, parameters: readonly TrainedParameter[]) {
    this.#worker = worker;
    this.parameters = parameters;
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
    const engine = new Engine(worker, options.training.parameters);
    try {
      await new Promise((resolve, reject) => engine.#waiting.set(0, { resolve, reject }));
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  /** Sets parameters and moments. Throws if one is missing or has another size. */
  async load(state: EngineState): Promise<void> {
    const missing = new Map(this.parameters.map(({ name, shape }) => [name, shape]));
    for await (const [name, values] of state) {
      if (values.weight.length === missing.get(name)?.reduce((product, length) => product * length, 1)) {
        missing.delete(name);
        await this.#call('load', { name, state: values });
      }
    }
    const [first] = missing.keys();
    if (first !== undefined) throw new Error(`the state does not hold ${first}`);
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

  /** A copy of what is known of a parameter. */
  read(name: string, quantity: Quantity): Promise<Float32Array> {
    return this.#call('read', { name, quantity });
  }

  /** The parameters as they are. */
  async weights(): Promise<ReadonlyMap<string, TensorValues>> {
    const weights = new Map<string, TensorValues>();
    for (const { name, shape } of this.parameters) {
      weights.set(name, { shape, values: await this.read(name, 'weight') });
    }
    return weights;
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
