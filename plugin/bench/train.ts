import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { modelConfig, tasks } from '../../inference/model/presets.ts';
import { randomWeights } from './random-weights.ts';

/**
 * What is timed: the decoder alone, the perceptual comparison down to the reconstruction's gradient, and the whole
 * step with its frozen encoder; each with backward pass and Adam.
 */
export const trainParts = ['decoder', 'perceptual', 'full'] as const;

export type TrainPart = (typeof trainParts)[number];

export interface TrainBenchOptions {
  readonly parts: readonly TrainPart[];
  readonly batch: number;
  readonly steps: number;
  readonly threads?: number;
}

export interface PartOptions extends Omit<TrainBenchOptions, 'parts'> {
  /** Where the random weights lie. */
  readonly folder: string;
  readonly location: string;
}

/** One part at one batch size. Times are those of the fastest step. */
export interface PartBench {
  /** Gradient of one batch and Adam. */
  secondsPerStep: number;
  /** Matrix products of one step, by count. */
  gflop: number;
  gflops: number;
  /** Of one large matrix product, measured between the steps. */
  peakGflops: number;
  shareOfPeak: number;
  /** Largest resident memory of the part's process. */
  rssBytes: number;
}

export type TrainBench = PartBench & { part: TrainPart; batch: number };

/** Times training of the full-size brain-mri model on random weights, each part in a process of its own. */
export async function benchTrain({ parts, ...rest }: TrainBenchOptions): Promise<TrainBench[]> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  try {
    const { location } = await randomWeights(folder, modelConfig(tasks['brain-mri']));
    const results: TrainBench[] = [];
    for (const part of parts) {
      const options: PartOptions = { ...rest, folder, location };
      const program = fileURLToPath(new URL('./train-part.ts', import.meta.url));
      const child = fork(program, [part, JSON.stringify(options)]);
      let result: PartBench | undefined;
      child.on('message', (message) => (result = message as PartBench));
      const [code] = (await once(child, 'exit')) as [number | null];
      if (!result) throw new Error(`the process that times ${part} ended with code ${code}`);
      results.push({ part, batch: rest.batch, ...result });
    }
    return results;
  } finally {
    await rm(folder, { recursive: true });
  }
}
