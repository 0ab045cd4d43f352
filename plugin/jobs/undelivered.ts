import { access, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { ResultContext, ScoreValues } from '../../dicom/result.ts';
import { writeAtomically } from '../../inference/atomic-file.ts';
import type { Database } from '../database/database.ts';
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
  /** What a note needs that rejects the result before: see `rejectionNote`. */
  context: ResultContext;
  header: DicomJson;
}

/** Results that wait for an archive, at most; those that wait longest are made again. */
const mostWaiting = 32;

/** Written last: a folder without it holds a result that is not whole. */
const description = 'result.json';

/**
 * Results whose delivery has not come to its end: the next attempt, also that of the next process, goes on with the
 * delivery instead of scoring the study again. Each lies in a folder of its own, named after its scoring.
 */
export class UndeliveredResults {
  readonly #database: Database;
  readonly #folder: string;

  constructor(database: Database, folder: string) {
    this.#database = database;
    this.#folder = folder;
  }

  /** Where the objects of a scoring's result are written, each in a file named after its SOPInstanceUID. */
  folderOf(scoringID: string): string {
    return join(this.#folder, scoringID);
  }

  /** The result of an earlier attempt, if it is what this one would make. */
  async get(
    scoringID: string,
    { sourceFingerprint, predecessorID }: Pick<MadeResult, 'sourceFingerprint' | 'predecessorID'>,
  ): Promise<MadeResult | undefined> {
    if (!(await this.has(scoringID))) return undefined;
    const text = await readFile(join(this.folderOf(scoringID), description), 'utf8');
    const made = JSON.parse(text) as MadeResult; // of this version, which its fingerprint covers
    const same = made.sourceFingerprint === sourceFingerprint && made.predecessorID === predecessorID;
    if (!same) return undefined;
    return {
      ...made,
      context: { ...made.context, performedAt: new Date(made.context.performedAt) },
      objects: made.objects.map((object) => ({
        ...object,
        file: join(this.folderOf(scoringID), object.sopInstanceUID), // the data folder may have moved
      })),
    };
  }

  async has(scoringID: string): Promise<boolean> {
    return access(join(this.folderOf(scoringID), description)).then(
      () => true,
      () => false,
    );
  }

  /** Keeps a result until it is forgotten, or `tidy` finds that nobody waits for it. */
  async keep(scoringID: string, made: MadeResult): Promise<void> {
    for (const { file } of made.objects) {
      await using handle = await open(file, 'r+');
      await handle.datasync();
    }
    await writeAtomically(join(this.folderOf(scoringID), description), (file) =>
      file.writeFile(JSON.stringify(made)),
    );
  }

  /** Removes what was made for a scoring, finished or not. */
  async forget(scoringID: string): Promise<void> {
    await rm(this.folderOf(scoringID), { recursive: true, force: true });
  }

  /**
   * Removes what nobody waits for any more, as that of jobs that were cancelled, and, of what waits, the oldest where
   * there is too much. Not while a job runs in this process.
   */
  async tidy(): Promise<void> {
    const kept = await readdir(this.#folder);
    const waiting = await this.#database.query<{ id: string }>(
      "select id from scoring where id::text = any($1) and state in ('queued', 'running')",
      [kept],
    );
    const ages = await Promise.all(
      waiting.map(async ({ id }) => ({ id, since: (await stat(this.folderOf(id))).mtimeMs })),
    );
    const newest = ages.sort((a, b) => b.since - a.since).slice(0, mostWaiting);
    const staying = new Set(newest.map(({ id }) => id));
    for (const id of kept) if (!staying.has(id)) await this.forget(id);
  }
}
