import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import { DicomError, type DicomErrorPlace, type DicomErrorReason } from './reading/dicom-error.ts';

/** What a worker's default export resolves to: a `DicomError` would lose its fields on the way. */
export type WorkerAnswer<Result> =
  { result: Result } | { error: { reason: DicomErrorReason; detail: string; place: DicomErrorPlace } };

export interface WorkerPoolOptions {
  /** Worker threads; the machine's cores by default. */
  threads?: number;
  /** Time that one task may run, in milliseconds; 60 s by default. Waiting for a thread does not count. */
  timeoutMs?: number;
  /** What each thread finds as its `workerData`. */
  workerData?: unknown;
}

/**
 * Worker threads that run one task each. A task that runs too long loses its thread, as does one that kills it;
 * the thread is replaced, other tasks are unharmed.
 */
export class WorkerPool<Task, Result> {
  readonly #pool: Piscina<Task, WorkerAnswer<Result>>;
  readonly #timeoutMs: number;
  readonly #threads: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** @param worker the module whose default export runs a task and resolves to a `WorkerAnswer` */
  constructor(
    worker: URL,
    { threads = availableParallelism(), timeoutMs = 60_000, workerData }: WorkerPoolOptions = {},
  ) {
    this.#threads = threads;
    this.#timeoutMs = timeoutMs;
    this.#pool = new Piscina({
      filename: worker.href,
      minThreads: 1,
      maxThreads: threads,
      idleTimeout: 30_000,
      workerData,
    });
  }

  /** @throws DicomError as the worker threw it, `timeout`, or `worker` where the thread died */
  async run(task: Task): Promise<Result> {
    // Piscina's own queue would let a task's time run while it waits.
    if (this.#running >= this.#threads) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await this.#runNow(task);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }

  async #runNow(task: Task): Promise<Result> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const answer = await this.#pool.run(task, { signal }).catch((error: unknown) => {
      if (signal.aborted) throw new DicomError('timeout', `not finished after ${this.#timeoutMs} ms`);
      throw new DicomError('worker', `the worker failed: ${(error as Error).message}`);
    });
    if ('error' in answer) throw new DicomError(answer.error.reason, answer.error.detail, answer.error.place);
    return answer.result;
  }

  /** Ends the threads; running and waiting tasks are rejected. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
