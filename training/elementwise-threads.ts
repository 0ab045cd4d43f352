import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { runElementwise, type Elementwise } from './elementwise.ts';

/** Threads that share out operations on arrays in shared memory; the one that asks has a share too. */
export class ElementwiseThreads {
  readonly #workers: Worker[];

  constructor(threads: number) {
    this.#workers = Array.from({ length: threads - 1 }, () => {
      const worker = new Worker(new URL('./elementwise-worker.ts', import.meta.url));
      // It ends with the thread that it belongs to.
      worker.unref();
      return worker;
    });
  }

  /** Does an operation on arrays of one length; returns the sum over all elements, where one is asked for. */
  async run(operation: Elementwise): Promise<number> {
    const [own, ...others] = shares(operation, this.#workers.length + 1);
    const replies = this.#workers.map(async (worker, i) => {
      worker.postMessage(others[i]);
      const [sum] = (await once(worker, 'message')) as [number];
      return sum;
    });
    const sums = [runElementwise(own), ...(await Promise.all(replies))];
    return sums.reduce((total, sum) => total + sum);
  }
}

function shares(operation: Elementwise, count: number): Elementwise[] {
  const { length } = Object.values(operation.arrays)[0];
  const at = (i: number) => Math.round((length * i) / count);
  return Array.from({ length: count }, (_, i) => {
    const part = (array: Float32Array) => array.subarray(at(i), at(i + 1));
    const arrays = Object.fromEntries(
      Object.entries(operation.arrays).map(([name, array]) => [name, part(array)]),
    );
    return { ...operation, arrays } as unknown as Elementwise;
  });
}
