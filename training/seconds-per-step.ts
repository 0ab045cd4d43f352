import type { Engine, EngineState, Feeds } from './engine.ts';

/**
 * Seconds of an optimiser step on this machine as it is now: from one micro-batch that is really computed, after
 * another one to warm up.
 */
export async function secondsPerStep(
  engine: Engine,
  state: EngineState,
  feeds: (micro: number) => Feeds,
  { microBatch, batchSize }: { readonly microBatch: number; readonly batchSize: number },
): Promise<number> {
  await engine.load(state);
  let seconds = 0;
  for (const step of [1, 2]) {
    const batch = [() => Promise.resolve(feeds(step))];
    const begun = performance.now();
    await engine.train([{ batch, rate: 1e-5, beta1: 0.9, step }]);
    seconds = (performance.now() - begun) / 1000;
  }
  return (seconds * batchSize) / microBatch;
}

/** Slices (B, 3, S, S) of something that is no picture. */
export function anySlices(microBatch: number, imageSize: number): Float32Array {
  return Float32Array.from({ length: microBatch * 3 * imageSize ** 2 }, (_, i) => Math.sin(i));
}
