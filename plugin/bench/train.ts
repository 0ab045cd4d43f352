import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { modelConfig, tasks } from '../../inference/model/presets.ts';
import { againstPeak, median, openPeak, type PeakShare } from './peak.ts';
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
  readonly checkpointing: boolean;
  readonly threads?: number;
}

export interface PartOptions extends Omit<TrainBenchOptions, 'parts'> {
  /** Where the random weights lie. */
  readonly folder: string;
  readonly location: string;
}

/** What the process of a part sends at its end. */
export interface StepBench {
  /** Gradient of one batch and Adam, of each step. */
  seconds: number[];
  /** Matrix products of one step, by count. */
  gflop: number;
  /** Largest resident memory of the part's process. */
  rssBytes: number;
}

export interface TrainBench extends Omit<StepBench, 'seconds'>, PeakShare {
  part: TrainPart;
  batch: number;
  checkpointing: boolean;
  /** The median, as the other figures of steps. */
  secondsPerStep: number;
}

/** Times training of the full-size brain-mri model on random weights, each part in a process of its own. */
export async function benchTrain({ parts, ...rest }: TrainBenchOptions): Promise<TrainBench[]> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  const peak = await openPeak(rest.threads === undefined ? {} : { threads: rest.threads });
  try {
    const { location } = await randomWeights(folder, modelConfig(tasks['brain-mri']));
    const results: TrainBench[] = [];
    for (const part of parts) {
      const options: PartOptions = { ...rest, folder, location };
      const peaks: number[] = [];
      const measurePeak = async () => {
        peaks.push(await peak.gflops());
      };
      const { seconds, gflop, rssBytes } = await timePart(part, options, measurePeak);
      await measurePeak();
      const peaksAbout = seconds.map((_, step) => (peaks[step] + peaks[step + 1]) / 2);
      const rates = seconds.map((time) => gflop / time);
      const { batch, checkpointing } = rest;
      results.push({
        ...{ part, batch, checkpointing, gflop, rssBytes },
        secondsPerStep: median(seconds),
        ...againstPeak(rates, peaksAbout),
      });
    }
    return results;
  } finally {
    await peak.close();
    await rm(folder, { recursive: true });
  }
}

/** Runs a part in a process; `between` before each step. */
async function timePart(
  part: TrainPart,
  options: PartOptions,
  between: () => Promise<void>,
): Promise<StepBench> {
  const program = fileURLToPath(new URL('./train-part.ts', import.meta.url));
  const child = fork(program, [part, JSON.stringify(options)]);
  let result: StepBench | undefined;
  child.on('message', (message: StepBench | 'ready') => {
    if (message !== 'ready') result = message;
    else void between().then(() => child.send('go'));
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (!result) throw new Error(`the process that times ${part} ended with code ${code}`);
  return result;
}
