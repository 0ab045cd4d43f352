const { imul } = Math;

const ROUNDS = 10;
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
/** Weyl sequences: golden ratio and √3 − 1. */
const KEY_STEPS = [0x9e3779b9, 0xbb67ae85] as const;

export type Counter = readonly [number, number, number, number];

/**
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): four random 32-bit integers for
 * a counter under a key. No state: any number of a stream can be had without those before it.
 */
export function philox(counter: Counter, key: readonly [number, number]): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = highProduct(MULTIPLIERS[0], c0);
    const high1 = highProduct(MULTIPLIERS[1], c2);
    const low0 = imul(MULTIPLIERS[0], c0);
    const low1 = imul(MULTIPLIERS[1], c2);
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 = (k0 + KEY_STEPS[0]) | 0;
    k1 = (k1 + KEY_STEPS[1]) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** The upper 32 bits of the 64-bit product of two unsigned 32-bit integers. */
function highProduct(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const low = (aLow * bLow) >>> 16;
  const middle = aHigh * bLow + low;
  const cross = aLow * bHigh + (middle % 65536);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(cross / 65536)) | 0;
}

/** What a stream of random numbers is for; streams of one seed are independent. */
const STREAMS = { order: 0, augmentation: 1, dropout: 2, masking: 3, initial: 4, anomaly: 5 } as const;

export type StreamName = keyof typeof STREAMS;

/** Uniform numbers in [0, 1), the same for the same seed, stream, position and order of calls. */
export function uniformStream(seed: number, stream: StreamName, position: number): () => number {
  const key = [seed >>> 0, STREAMS[stream]] as const;
  let block: readonly number[] = [];
  let [next, blocks] = [4, 0];
  return () => {
    if (next === 4) {
      block = philox([position >>> 0, Math.floor(position / 2 ** 32), blocks++, 0], key);
      next = 0;
    }
    return block[next++] / 2 ** 32;
  };
}

/** The integers 0..count − 1 in random order (Fisher and Yates). */
export function shuffled(count: number, random: () => number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
