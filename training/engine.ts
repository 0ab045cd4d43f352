import { Worker } from 'node:worker_threads';
import type { ExecutionProvider, RuntimeOptions } from '../inference/execution-provider.ts';
import type { TensorValues } from '../inference/safetensors.ts';
import type { TensorValue } from '../inference/session.ts';
import { accumulationGraph, scanGraph } from './device-graphs.ts';
import type { TrainedParameter, TrainingGraph } from './training-graph.ts';

/**
 * How an engine works, by default what suits the provider. `stepwise` (CPU): state in memory, Adam in place.
 * `resident` (WebGPU): state stays on the device. `scan` (CUDA): several steps a run, state on the device meanwhile.
 */
export type EngineKind = 'stepwise' | 'resident' | 'scan';

const KINDS: Record<ExecutionProvider, EngineKind> = { cpu: 'stepwise', webgpu: 'resident', cuda: 'scan' };

/**
 * Steps in one run of a `scan` engine. A step of the paper's batch of 64 takes a GPU a second or so, the state's way
 * to it and back (0.6 GB each) a tenth of that; the pictures of more steps would need more memory than they save time.
 */
const STEPS_PER_SCAN = 4;

export interface EngineOptions extends Omit<RuntimeOptions, 'deviceOutputs' | 'prepack'> {
  readonly training: TrainingGraph;
  /** Inputs: the trained parameters and data; run by `evaluate`. */
  readonly evaluation?: Uint8Array;
  readonly kind?: EngineKind;
}

/** What the thread of an engine is given. */
export interface TrainingModel {
  readonly graph: Uint8Array;
  readonly parameters: readonly TrainedParameter[];
  readonly evaluation?: Uint8Array;
}

export interface WorkerOptions {
  readonly kind: EngineKind;
  readonly model: TrainingModel;
  readonly runtime: RuntimeOptions;
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

interface StepSettings {
  readonly rate: number;
  readonly beta1: number;
  /** Counted from 1. */
  readonly step: number;
}

/** An optimiser step: its micro-batches, made when their turn comes. */
export interface TrainingStep extends StepSettings {
  readonly batch: readonly (() => Promise<Feeds>)[];
}

export interface ScanStep extends StepSettings {
  readonly batch: readonly Feeds[];
}

export interface StepResult {
  /** The mean over the micro-batches. */
  readonly loss: number;
  /** Of the mean gradient. */
  readonly gradientNorm: number;
}

/** What an engine does in its thread: steps one at a time, or several by `scan`. */
export interface EngineMethods {
  readonly load: (argument: { name: string; state: ParameterState }) => void;
  readonly accumulate?: (argument: { feeds: Feeds }) => Promise<number>;
  readonly update?: (argument: StepSettings) => Promise<number>;
  readonly scan?: (argument: { steps: readonly ScanStep[] }) => Promise<StepResult[]>;
  readonly evaluate: (argument: { feeds: Feeds }) => Promise<Record<string, TensorValue>>;
  readonly read: (argument: { name: string; quantity: Quantity }) => Float32Array | Promise<Float32Array>;
}

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
 * Trains in a thread of its own. Calls are done in their order.
 *
 * @example
 * const engine = await Engine.open({ training: qfaeTrainingGraph(options) });
 * await engine.load(state);
 * const [{ loss }] = await engine.train([{ batch: [async () => ({ x, dropout })], rate, beta1, step: 1 }]);
 */
export class Engine {
  readonly parameters: readonly TrainedParameter[];
  /** How many steps `train` is best given at once. */
  readonly stepsPerRun: number;
  readonly #kind: EngineKind;
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  #lastId = 0;
  #ended: Error | undefined;

  private constructor(worker: Worker, kind: EngineKind, parameters: readonly TrainedParameter[]) {
    this.#worker = worker;
    this.#kind = kind;
    this.parameters = parameters;
    this.stepsPerRun = kind === 'scan' ? STEPS_PER_SCAN : 1;
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
  static async open({ training, evaluation, kind: given, ...runtime }: EngineOptions): Promise<Engine> {
    const kind = given ?? KINDS[runtime.provider ?? 'cpu'];
    const { parameters } = training;
    const graph = {
      stepwise: () => training.graph.toBytes(),
      resident: () => accumulationGraph(training),
      scan: () => scanGraph(training),
    }[kind]();
    const model = { graph, parameters, ...(evaluation && { evaluation }) };
    const workerData: WorkerOptions = { kind, model, runtime };
    const worker = new Worker(new URL('./engine-worker.ts', import.meta.url), { workerData });
    const engine = new Engine(worker, kind, parameters);
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

  /**
   * Optimiser steps, each with the mean gradient of its micro-batches. Throws, and leaves the parameters as they were
   * before the step (of a `scan` engine: before all of them), if a gradient is not a finite number.
   */
  async train(steps: readonly TrainingStep[]): Promise<StepResult[]> {
    if (this.#kind === 'scan') {
      const ready = await Promise.all(
        steps.map(async (step) => ({
          ...step,
          batch: await Promise.all(step.batch.map((feeds) => feeds())),
        })),
      );
      return this.#call('scan', { steps: ready });
    }
    const results: StepResult[] = [];
    for (const { batch, ...settings } of steps) {
      let loss = 0;
      for (const feeds of batch) loss += (await this.accumulate(await feeds())) / batch.length;
      results.push({ loss, gradientNorm: await this.update(settings) });
    }
    return results;
  }

  /** Adds the gradients of a micro-batch to those since the last update; returns its loss. */
  accumulate(feeds: Feeds): Promise<number> {
    return this.#call('accumulate', { feeds }, buffers(feeds));
  }

  /**
   * One Adam step with the mean of the accumulated gradients. Returns the norm of that mean. Throws, and leaves the
   * parameters as they are, if it is not a finite number.
   */
  update(settings: StepSettings): Promise<number> {
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
