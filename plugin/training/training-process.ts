import { fork } from 'node:child_process';
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { StepRecord } from '../../training/run-log.ts';

/** How a training ended. A cancelled one goes on from its last step when the same is started again. */
export type TrainingResult =
  | {
      readonly status: 'done';
      readonly bundle: string;
      /** Of a retraining: what came of the bundle, and why. */
      readonly outcome?: 'promoted' | 'candidate';
      readonly reason?: string | null;
    }
  | { readonly status: 'cancelled' };

/** What is known before the first step. */
export interface PlanRecord {
  readonly type: 'plan';
  readonly run: string;
  readonly totalSteps: number;
}

/** A line that `qfae train --json` writes, or `qfae retrain --json`. */
export type TrainingRecord =
  | ProgressRecord
  | {
      readonly type: 'bundle';
      readonly id: string;
      readonly outcome?: 'promoted' | 'candidate';
      readonly reason?: string | null;
    };

/** How far it is: a retraining tells its stages and studies too. */
export type ProgressRecord = PlanRecord | StepRecord | { readonly type: 'stage' | 'study' };

export interface TrainingProcess {
  readonly pid: number;
  /** The made bundle, which is not promoted. Rejects with what the process said if it failed. */
  readonly result: Promise<TrainingResult>;
  /** Ends it after the step in progress, with a checkpoint. */
  cancel(): void;
}

const qfae = fileURLToPath(new URL('../cli/qfae.ts', import.meta.url));

/** Of stderr, for the reason of a failure. */
const KEPT_ERRORS = 4000;

/**
 * Runs `qfae train`, `qfae pretrain` or `qfae retrain` in a process of its own, with low priority, so that scoring keeps its place.
 * When this process ends, however it does, the training ends after its step.
 *
 * @param command With its options, e.g. `['train', '--cache', folder, '--profile', 'brain-mri']`.
 * @param environment Settings that differ from those of this process.
 */
export function startTraining(
  command: readonly ['train' | 'pretrain' | 'retrain', ...string[]],
  dataFolder: string,
  onProgress: (record: ProgressRecord) => void,
  environment: Readonly<Record<string, string>> = {},
): TrainingProcess {
  const child = fork(qfae, [...command, '--json'], {
    env: { ...process.env, ...environment, QFAE_DATA: dataFolder },
    execArgv: [],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  // Threads that it starts, those of the model among them, inherit it.
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);

  let bundle: (TrainingRecord & { type: 'bundle' }) | undefined;
  let errors = '';
  let cancelled = false;
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-KEPT_ERRORS);
  });
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const record = JSON.parse(line) as TrainingRecord;
    if (record.type === 'bundle') bundle = record;
    else onProgress(record);
  });
  const result = once(child, 'close').then(([code, signal]): TrainingResult => {
    if (bundle) {
      const { type: _type, id, ...outcome } = bundle;
      return { status: 'done', bundle: id, ...outcome };
    }
    if (cancelled && code === 0) return { status: 'cancelled' };
    throw new Error(`training ended with ${String(code ?? signal)}: ${errors.trim()}`);
  });
  return {
    pid: child.pid!,
    result,
    cancel() {
      // A second signal would end it at once.
      if (!cancelled) child.kill('SIGTERM');
      cancelled = true;
    },
  };
}
