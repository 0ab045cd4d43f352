import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { runFlatPass, type FlatPass } from './flat-pass.ts';

/** Threads that share out passes over arrays in shared memory; the one that asks has a share too. */
export class FlatThreads {
  readonly #workers: Worker[];

  constructor(threads: number) {
    this.#workers = Array.from({ length: threads - 1 }, () => {
      const worker = new Worker(new URL('./flat-pass-worker.ts', import.meta.url));
      // It ends with the thread that it belongs to.
      worker.unref();
      return worker;
    });
  }

  /** Does a pass over arrays of one length; returns the sum over all elements, where one is asked for. */
  async run(pass: FlatPass): Promise<number> {
    const [own, ...others] = shares(pass, this.#workers.length + 1);
    const replies = this.#workers.map(async (worker, i) => {
      worker.postMessage(others[i]);
      const [sum] = (await once(worker, 'message')) as [number];
      return sum;
    });
    const sums = [runFlatPass(own), ...(await Promise.all(replies))];
    return sums.reduce((total, sum) => total + sum);
  }
}

function shares(pass: FlatPass, count: number): FlatPass[] {
  const { length } = Object.values(pass.arrays)[0];
  const at = (i: number) => Math.round((length * i) / count);
  return Array.from({ length: count }, (_, i) => {
    const part = (array: Float32Array) => array.subarray(at(i), at(i + 1));
    const arrays = Object.fromEntries(
      Object.entries(pass.arrays).map(([name, array]) => [name, part(array)]),
    );
    return { ...pass, arrays } as unknown as FlatPass;
  });
}
