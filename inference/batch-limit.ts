/**
 * How many items fit into memory together. Starts with a size that is wished for; when memory does not suffice, it
 * is halved and stays so.
 */
export class BatchLimit {
  #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Does `work` on all items in their order, in batches of at most `size`. A batch for which memory does not suffice
   * is done again in halves. Throws what `work` throws, and where memory does not suffice for a single item.
   */
  async run<T, R>(items: readonly T[], work: (batch: readonly T[]) => Promise<readonly R[]>): Promise<R[]> {
    const results: R[] = [];
    while (results.length < items.length) {
      const batch = items.slice(results.length, results.length + this.#size);
      try {
        results.push(...(await work(batch)));
      } catch (error) {
        if (!isOutOfMemory(error)) throw error;
        if (batch.length === 1) {
          throw new Error(`memory does not suffice for a batch of 1: ${error.message}`, { cause: error });
        }
        this.#size = Math.floor(batch.length / 2);
      }
    }
    return results;
  }
}

/**
 * How onnxruntime says that memory does not suffice: its arena, the CPU's and CUDA's; CUDA and its libraries; Dawn,
 * which after a failed allocation only finds the buffer invalid, or refuses one beyond the adapter's limits.
 */
const OUT_OF_MEMORY =
  /Failed to allocate memory|Arena ran out of memory|bad_alloc|out of memory|_ALLOC_FAILED|OUT_OF_(DEVICE|HOST)_MEMORY|\[Invalid Buffer|exceeds the max buffer size|exceeding maxStorageBufferBindingSize/i;

/** Whether a run of a model failed because memory did not suffice. */
export function isOutOfMemory(error: unknown): error is Error {
  return error instanceof Error && OUT_OF_MEMORY.test(error.message);
}
