import { appendFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { writeAtomically } from '../inference/atomic-file.ts';

/** One optimiser step. `step` counts from 0. */
export interface StepRecord {
  readonly type: 'step';
  readonly step: number;
  readonly loss: number;
  readonly gradientNorm: number;
  readonly rate: number;
  readonly beta1: number;
  /** Wall time, in seconds. */
  readonly seconds: number;
}

/** The loss on held-out slices after `step` steps, without augmentation and dropout. */
export interface EvaluationRecord {
  readonly type: 'evaluation';
  readonly step: number;
  readonly loss: number;
}

/** Why a run ended before its last step. */
export interface FailureRecord {
  readonly type: 'failed';
  readonly step: number;
  readonly reason: string;
}

export type RunRecord = StepRecord | EvaluationRecord | FailureRecord;

/** Appends to a run's log, JSON lines. */
export function appendRecord(path: string, record: RunRecord): void {
  appendFileSync(path, `${JSON.stringify(record)}\n`);
}

/** A run's log; a last line that was cut short is passed over. */
export async function readRecords(path: string): Promise<RunRecord[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as RunRecord);
}

/** Drops what a run had done after the checkpoint from which it goes on; returns what stays. */
export async function rewindRecords(path: string, step: number): Promise<RunRecord[]> {
  const kept = (await readRecords(path)).filter(
    (record) =>
      (record.type === 'step' && record.step < step) || (record.type === 'evaluation' && record.step <= step),
  );
  await writeAtomically(path, (file) =>
    file.writeFile(kept.map((record) => `${JSON.stringify(record)}\n`).join('')),
  );
  return kept;
}
