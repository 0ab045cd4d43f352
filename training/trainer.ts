import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { lockFolder } from '../inference/folder-lock.ts';
import type { Batches } from './batches.ts';
import { readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import type { Engine, EngineState, Feeds, TrainingStep } from './engine.ts';
import { oneCycle } from './one-cycle.ts';
import type { Schedule } from './one-cycle.ts';
import { appendRecord, rewindRecords } from './run-log.ts';
import type { RunRecord, StepRecord } from './run-log.ts';

export interface TrainerOptions {
  /** The run's folder: `checkpoint.safetensors`, `log.jsonl` and what `evaluate` adds. */
  readonly folder: string;
  /** What decides the result, as text. A run that is resumed must have the same. */
  readonly settings: string;
  readonly engine: Engine;
  readonly batches: Pick<Batches, 'step'>;
  readonly schedule: Schedule;
  /** Parameters before the first step. */
  readonly initialState: () => EngineState;
  /** Inputs of the graph for micro-batch number `micro`, counted over the whole run. */
  readonly feeds: (x: Float32Array, micro: number) => Feeds;
  /** Steps between checkpoints; each follows an evaluation. */
  readonly checkpointEvery: number;
  /** The held-out loss now; may write pictures of it and of the run's log so far. */
  readonly evaluate?: (step: number, log: readonly RunRecord[]) => Promise<number>;
  readonly onStep?: (record: StepRecord, totalSteps: number) => void;
  /** When aborted, the run ends after the step in progress, with a checkpoint. */
  readonly signal?: AbortSignal;
}

/** Where a run's checkpoint lies. */
export const checkpointPath = (folder: string) => join(folder, 'checkpoint.safetensors');
/** Where a run's log lies. */
export const logPath = (folder: string) => join(folder, 'log.jsonl');

/**
 * Trains to the end of the schedule, from the run's checkpoint if it has one, with the same losses as if it had never
 * been interrupted. Returns the number of steps done: fewer than all only if the signal was aborted. Throws, with the
 * last checkpoint in place, if loss or gradient is no number or a file cannot be written; and at once if another
 * process trains in the run's folder.
 */
export async function train(options: TrainerOptions): Promise<number> {
  await mkdir(options.folder, { recursive: true });
  const lock = await lockFolder(options.folder);
  try {
    return await trainLocked(options);
  } finally {
    lock.release();
  }
}

async function trainLocked(options: TrainerOptions): Promise<number> {
  const { folder, settings, engine, batches, schedule, checkpointEvery, evaluate, signal } = options;
  const checkpoint = await readCheckpoint(checkpointPath(folder));
  if (checkpoint && checkpoint.settings !== settings) {
    throw new Error(
      `${folder} holds a run with other settings: ${checkpoint.settings}; this one has ${settings}`,
    );
  }
  const start = checkpoint?.step ?? 0;
  await engine.load(checkpoint?.state ?? options.initialState());
  const log = await rewindRecords(logPath(folder), start);
  const note = (record: RunRecord) => {
    appendRecord(logPath(folder), record);
    log.push(record);
  };

  let step = start;
  try {
    while (step < schedule.totalSteps && !signal?.aborted) {
      const begun = performance.now();
      const nextCheckpoint = checkpointEvery * (Math.floor(step / checkpointEvery) + 1);
      const end = Math.min(step + engine.stepsPerRun, nextCheckpoint, schedule.totalSteps);
      const steps: TrainingStep[] = [];
      for (let at = step; at < end; at++) {
        const batch = batches.step(at, schedule.totalSteps - 1);
        const feeds = batch.map((x, i) => async () => options.feeds(await x, at * batch.length + i));
        steps.push({ batch: feeds, ...oneCycle(schedule, at), step: at + 1 });
      }
      const results = await engine.train(steps);
      const seconds = (performance.now() - begun) / 1000 / results.length;
      for (const [i, { loss, gradientNorm }] of results.entries()) {
        if (!Number.isFinite(loss)) throw new Error('the loss is not a finite number');
        const { rate, beta1 } = steps[i];
        const record: StepRecord = { type: 'step', step: step + i, loss, gradientNorm, rate, beta1, seconds };
        note(record);
        options.onStep?.(record, schedule.totalSteps);
      }

      if (end === nextCheckpoint || end === schedule.totalSteps || signal?.aborted) {
        if (evaluate) {
          note({ type: 'evaluation', step: end, loss: await evaluate(end, log) });
        }
        // Last: what the log lacks when this is cut short, the run does again.
        await writeCheckpoint(checkpointPath(folder), engine, { step: end, settings });
      }
      step = end;
    }
  } catch (error) {
    throw failure(folder, step, error as NodeJS.ErrnoException);
  }
  return step;
}

/** The error with which a run ends: what happened, at which step, and from where it can go on. */
function failure(folder: string, step: number, error: NodeJS.ErrnoException): Error {
  const reason = error.code === 'ENOSPC' ? 'the disk is full' : error.message;
  try {
    appendRecord(logPath(folder), { type: 'failed', step, reason });
  } catch {
    // The log may lie on the disk that is full; the message below is then all there is.
  }
  return new Error(
    `training stopped at step ${step}: ${reason}. The last checkpoint in ${folder} is whole; the same command goes on from it`,
    { cause: error },
  );
}
