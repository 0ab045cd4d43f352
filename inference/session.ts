import { Worker } from 'node:worker_threads';
import type { RuntimeOptions } from './execution-provider.ts';

export interface TensorValue {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export interface SessionOptions extends Omit<RuntimeOptions, 'deviceOutputs'> {
  /** An ONNX model. */
  readonly graph: Uint8Array;
}

/** What a session asks of its thread. */
export type Command = Request | 'close';

export interface Request {
  readonly id: number;
  readonly feeds: Readonly<Record<string, TensorValue>>;
}

/** The first reply has id 0 and says that the session is open. */
export type Reply =
  | { readonly id: number }
  | { readonly id: number; readonly outputs: Record<string, TensorValue> }
  | { readonly id: number; readonly error: string };

interface Waiting {
  readonly resolve: (outputs: Record<string, TensorValue>) => void;
  readonly reject: (error: Error) => void;
}

/**
 * An onnxruntime session in a worker thread. Runs are done in the order in which they are asked for. When the
 * thread ends, everything that waits on it is rejected.
 *
 * @example
 * const session = await Session.open({ graph: graph.toBytes() });
 * const { y } = await session.run({ x: { data, dims: [1, 4] } });
 * await session.close();
 */
export class Session {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<unknown>;
  #lastId = 0;
  #ended: Error | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (reply: Reply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ('error' in reply) waiting?.reject(new Error(`onnxruntime: ${reply.error}`));
      else waiting?.resolve('outputs' in reply ? reply.outputs : {});
    });
    worker.on('error', (error) => {
      this.#end(new Error(`the inference thread failed: ${String(error)}`, { cause: error }));
    });
    this.#exited = new Promise((resolve) => worker.once('exit', resolve));
    worker.on('exit', (code) => {
      this.#end(new Error(`the inference thread has ended (exit code ${code}); open it again`));
    });
  }

  /** Throws if onnxruntime refuses the graph, a weight file is missing, or the provider does not work here. */
  static async open(options: SessionOptions): Promise<Session> {
    const worker = new Worker(new URL('./session-worker.ts', import.meta.url), { workerData: options });
    const session = new Session(worker);
    try {
      await new Promise((resolve, reject) => session.#waiting.set(0, { resolve, reject }));
    } catch (error) {
      await session.close();
      throw error;
    }
    return session;
  }

  /** Runs the graph; the buffers of `feeds` move to the thread and cannot be used afterwards. */
  run(feeds: Readonly<Record<string, TensorValue>>): Promise<Record<string, TensorValue>> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended);
        return;
      }
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve, reject });
      const buffers = Object.values(feeds).map(({ data }) => data.buffer as ArrayBuffer);
      this.#worker.postMessage({ id, feeds } satisfies Request, buffers);
    });
  }

  /** Whether the thread is gone: every run is rejected. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /**
   * Rejects what is in progress and waits for the thread to end. A run is not broken off: onnxruntime ends the
   * whole process when its thread is taken away.
   */
  async close(): Promise<void> {
    this.#end(new Error('the inference session was closed; open it again'));
    this.#worker.postMessage('close' satisfies Command);
    await this.#exited;
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}
