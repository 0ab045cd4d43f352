import type { ScoreValues } from '../../dicom/result.ts';
import type { InstanceReference } from '../archive/archive.ts';
import type { Queryable } from '../database/database.ts';
import type { Subject } from '../scoring/subject.ts';

/** `queued` and `running` are on their way; the others are ends. */
export type ScoringState = 'queued' | 'running' | 'scored' | 'not-scored' | 'failed';

/** A scored slice. */
export interface SliceRecord {
  sopInstanceUID: string;
  /** Counted from 1. */
  frame: number;
  rows: number;
  columns: number;
  /** Along the slice normal, in millimetres. */
  position: number | null;
  score: ScoreValues;
}

/** What happened to one set of source instances that was asked to be scored. */
export interface Scoring {
  id: string;
  archive: string;
  studyInstanceUID: string;
  /** The only clock in the result. */
  requestedAt: Date;
  state: ScoringState;
  /** The step that runs, or that failed. */
  step: string | null;
  /** Why it failed or was not scored. */
  reason: string | null;
  /** Stands for the instances that the archive held, and what they were scored with. */
  sourceFingerprint: string | null;
  /** What the result's UIDs are made of. */
  resultIdentity: string | null;
  bundle: string | null;
  profile: string | null;
  /** What was scored, as headers say. */
  subject: Subject | null;
  score: ScoreValues | null;
  finishedAt: Date | null;
}

export const scoringColumns = `id, archive, study_instance_uid as "studyInstanceUID", requested_at as "requestedAt", state, step,
  reason, source_fingerprint as "sourceFingerprint", result_identity as "resultIdentity", bundle, profile, subject,
  score, finished_at as "finishedAt"`;

/** Asks for a study to be scored; nothing new where it waits already. Returns the new row's ID. */
export async function requestScoring(
  on: Queryable,
  archive: string,
  studyInstanceUID: string,
  requestedAt: Date,
): Promise<string | undefined> {
  const [row] = await on.query<{ id: string }>(
    `insert into scoring (archive, study_instance_uid, requested_at, state)
     select $1, $2, $3, 'queued'
     where not exists (
       select 1 from scoring where archive = $1 and study_instance_uid = $2 and state = 'queued')
     returning id`,
    [archive, studyInstanceUID, requestedAt],
  );
  return row?.id;
}

/** The scoring of an ID; undefined where it was dropped. */
export async function findScoring(on: Queryable, id: string): Promise<Scoring | undefined> {
  const [row] = await on.query<Scoring>(`select ${scoringColumns} from scoring where id = $1`, [id]);
  return row;
}

/** Changes of a scoring's row. */
export type ScoringChange = Partial<
  Omit<Scoring, 'id' | 'archive' | 'studyInstanceUID' | 'requestedAt'> & { slices: SliceRecord[] }
>;

const columnOf: Record<keyof ScoringChange, string> = {
  state: 'state',
  step: 'step',
  reason: 'reason',
  sourceFingerprint: 'source_fingerprint',
  resultIdentity: 'result_identity',
  bundle: 'bundle',
  profile: 'profile',
  subject: 'subject',
  score: 'score',
  slices: 'slices',
  finishedAt: 'finished_at',
};

/** Writes what changed into a scoring's row. */
export async function updateScoring(on: Queryable, id: string, change: ScoringChange): Promise<void> {
  const keys = Object.keys(change) as (keyof ScoringChange)[];
  await on.query(
    `update scoring set ${keys.map((key, i) => `${columnOf[key]} = $${i + 2}`).join(', ')} where id = $1`,
    [id, ...keys.map((key) => (key === 'slices' ? JSON.stringify(change[key]) : change[key]))],
  );
}

/** Takes a scoring back, because it would only repeat an earlier one. */
export async function dropScoring(on: Queryable, id: string): Promise<void> {
  await on.query('delete from scoring where id = $1', [id]);
}

/** The newest scoring of the same study that ended with a result or without one, other than `scoring`. */
export async function lastFinished(
  on: Queryable,
  scoring: Scoring,
  state: 'scored' | 'any' = 'any',
): Promise<Scoring | undefined> {
  const [row] = await on.query<Scoring>(
    `select ${scoringColumns} from scoring
     where archive = $1 and study_instance_uid = $2 and id <> $3
       and state = any($4)
     order by requested_at desc limit 1`,
    [
      scoring.archive,
      scoring.studyInstanceUID,
      scoring.id,
      state === 'scored' ? ['scored'] : ['scored', 'not-scored'],
    ],
  );
  return row;
}

/** All scorings of a study, the newest first. */
export async function scoringsOfStudy(
  on: Queryable,
  { archive, studyInstanceUID }: Pick<Scoring, 'archive' | 'studyInstanceUID'>,
): Promise<Scoring[]> {
  return on.query<Scoring>(
    `select ${scoringColumns} from scoring where archive = $1 and study_instance_uid = $2
     order by requested_at desc, id`,
    [archive, studyInstanceUID],
  );
}

/** The slices of a scoring, in order; none where it has no result. */
export async function sliceScores(on: Queryable, id: string): Promise<SliceRecord[]> {
  const [row] = await on.query<{ slices: SliceRecord[] | null }>('select slices from scoring where id = $1', [
    id,
  ]);
  return row?.slices ?? [];
}

/** Enters the objects that a scoring writes, before they are written: from then on they are known as ours. */
export async function recordResultObjects(
  on: Queryable,
  { id, archive, studyInstanceUID }: Scoring,
  objects: InstanceReference[],
): Promise<void> {
  for (const [position, { sopInstanceUID, seriesInstanceUID, sopClassUID }] of objects.entries()) {
    await on.query(
      `insert into result_object (archive, sop_instance_uid, series_instance_uid, study_instance_uid,
         sop_class_uid, scoring_id, position)
       values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (archive, sop_instance_uid) do update set scoring_id = $6, position = $7`,
      [archive, sopInstanceUID, seriesInstanceUID, studyInstanceUID, sopClassUID, id, position],
    );
  }
}

/** Forgets objects that are no longer in the archive. */
export async function forgetResultObjects(
  on: Queryable,
  archive: string,
  objects: InstanceReference[],
): Promise<void> {
  await on.query('delete from result_object where archive = $1 and sop_instance_uid = any($2)', [
    archive,
    objects.map(({ sopInstanceUID }) => sopInstanceUID),
  ]);
}

const referenceColumns = `sop_instance_uid as "sopInstanceUID", series_instance_uid as "seriesInstanceUID",
  sop_class_uid as "sopClassUID"`;

/** The objects that one scoring wrote, in the order in which it made them. */
export async function resultObjectsOf(on: Queryable, scoringID: string): Promise<InstanceReference[]> {
  return on.query<InstanceReference>(
    `select ${referenceColumns} from result_object where scoring_id = $1 order by position`,
    [scoringID],
  );
}

/** Everything that we wrote on a study, in whichever scoring. */
export async function resultObjectsOnStudy(
  on: Queryable,
  { archive, studyInstanceUID }: Scoring,
): Promise<InstanceReference[]> {
  return on.query<InstanceReference>(
    `select ${referenceColumns} from result_object where archive = $1 and study_instance_uid = $2`,
    [archive, studyInstanceUID],
  );
}

/** Which of `sopInstanceUIDs` we wrote into an archive ourselves. */
export async function ownObjects(
  on: Queryable,
  archive: string,
  sopInstanceUIDs: string[],
): Promise<Set<string>> {
  const rows = await on.query<{ uid: string }>(
    'select sop_instance_uid as uid from result_object where archive = $1 and sop_instance_uid = any($2)',
    [archive, sopInstanceUIDs],
  );
  return new Set(rows.map(({ uid }) => uid));
}

/**
 * Notes that the process ended while a scoring ran; from `limit` times on the scoring has failed.
 *
 * @returns whether it has failed.
 */
export async function noteCrash(on: Queryable, id: string, limit: number): Promise<boolean> {
  const [row] = await on.query<{ crashes: number }>(
    'update scoring set crashes = crashes + 1 where id = $1 returning crashes',
    [id],
  );
  const failed = row !== undefined && row.crashes >= limit;
  if (failed) {
    await updateScoring(on, id, {
      state: 'failed',
      reason: `the process ended ${row.crashes} times while the study was scored`,
      finishedAt: new Date(),
    });
  }
  return failed;
}
