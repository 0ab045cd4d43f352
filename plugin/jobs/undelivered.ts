import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResultObject, ScoreValues } from '../../dicom/result.ts';
import type { InstanceReference } from '../archive/archive.ts';
import type { StoredObject } from '../scoring/result-objects.ts';
import type { SliceRecord } from './scorings.ts';

/** A result that is made, and perhaps not delivered. */
export interface MadeResult {
  /** Of the scoring that it is for: sources, bundle, outputs, version. */
  sourceFingerprint: string;
  /** The scoring whose result it replaces. */
  predecessorID: string | undefined;
  resultIdentity: string;
  score: ScoreValues;
  slices: SliceRecord[];
  objects: StoredObject[];
  rejectionNote: (rejected: InstanceReference[]) => ResultObject;
}

/** Results that wait for an archive, at most; those that wait longest are made again. */
const mostWaiting = 32;

/**
 * Results whose delivery failed: the next attempt goes on with the delivery instead of scoring the study again. They
 * lie in the folder of fetched studies and are forgotten with the process; made again, they are the same.
 */
export class UndeliveredResults {
  readonly #work: string;
  /** By scoring, the oldest first. */
  readonly #waiting = new Map<string, MadeResult>();

  /** @param work is emptied when the process starts */
  constructor(work: string) {
    this.#work = work;
  }

  /** Where the objects of a scoring's result are written. */
  folderOf(scoringID: string): string {
    return join(this.#work, `${scoringID}.result`);
  }

  /** The result of an earlier attempt, if it is what this one would make. */
  get(
    scoringID: string,
    { sourceFingerprint, predecessorID }: Pick<MadeResult, 'sourceFingerprint' | 'predecessorID'>,
  ): MadeResult | undefined {
    const made = this.#waiting.get(scoringID);
    const same = made?.sourceFingerprint === sourceFingerprint && made.predecessorID === predecessorID;
    return same ? made : undefined;
  }

  has(scoringID: string): boolean {
    return this.#waiting.has(scoringID);
  }

  async keep(scoringID: string, made: MadeResult): Promise<void> {
    this.#waiting.set(scoringID, made);
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size > mostWaiting) await this.forget(oldest);
  }

  /** Removes what was made for a scoring, finished or not. */
  async forget(scoringID: string): Promise<void> {
    this.#waiting.delete(scoringID);
    await rm(this.folderOf(scoringID), { recursive: true, force: true });
  }
}
