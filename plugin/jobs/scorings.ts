import type { ScoreValues } from '../../dicom/result.ts';
import type { InstanceReference } from '../archive/archive.ts';
import type { Database, Queryable } from '../database/database.ts';
import type { SelectedSeries } from '../scoring/series-selection.ts';
import type { Subject } from '../scoring/subject.ts';

/** `queued` and `running` are on their way; the others are ends. */
export const scoringStates = ['queued', 'running', 'scored', 'not-scored', 'failed', 'cancelled'] as const;

export type ScoringState = (typeof scoringStates)[number];

/** A study, and the archive that holds it. */
export interface StudyInArchive {
  archive: string;
  studyInstanceUID: string;
}

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
  /** Higher goes first. */
  priority: number;
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
  /** The rule that decided. */
  rule: string | null;
  /** AE title of the last C-STORE sender. */
  sourceAETitle: string | null;
  /** What was scored, as headers say. */
  subject: Subject | null;
  /** Which series is scored, and what of the study is not, with the reasons. */
  selection: Pick<SelectedSeries, 'seriesInstanceUID' | 'remarks' | 'notScored'> | null;
  score: ScoreValues | null;
  finishedAt: Date | null;
}

export const scoringColumns = `id, archive, study_instance_uid as "studyInstanceUID", requested_at as "requestedAt", state, priority, step,
  reason, source_fingerprint as "sourceFingerprint", result_identity as "resultIdentity", bundle, profile, rule,
  source_ae_title as "sourceAETitle", subject, selection,
  score, finished_at as "finishedAt"`;

/** Asks for a study to be scored; nothing new where it waits already. Returns the new row's ID: `id`, if given. */
export async function requestScoring(
  on: Queryable,
  { archive, studyInstanceUID }: StudyInArchive,
  requestedAt: Date,
  priority: number,
  sourceAETitle: string | null,
  id: string | null = null,
): Promise<string | undefined> {
  const [row] = await on.query<{ id: string }>(
    `insert into scoring (id, archive, study_instance_uid, requested_at, priority, source_ae_title, state)
     select coalesce($6::uuid, gen_random_uuid()), $1, $2, $3, $4, $5, 'queued'
     where not exists (
       select 1 from scoring where archive = $1 and study_instance_uid = $2 and state = 'queued')
     returning id`,
    [archive, studyInstanceUID, requestedAt, priority, sourceAETitle, id],
  );
  return row?.id;
}

/** The run of a scoring by one process: the mark by which it may change the scoring's row. */
export interface Run {
  scoringID: string;
  mark: string;
}

/** Another run has taken the scoring over, or it was cancelled: whoever lost it must not go on. */
export class RunLostError extends Error {
  override name = 'RunLostError';

  constructor() {
    super('the job was cancelled, or another worker has taken it over');
  }
}

/**
 * A study during which the process ended so many times is not tried again: it may be what ends it. Not fewer, since
 * power cuts and restarts count as well.
 */
const crashLimit = 10;

/**
 * Begins a run of a scoring: from now on no earlier run can change it, and no other scoring of the same study runs.
 *
 * @returns undefined where there is nothing to do: it was dropped, has come to its end, or has ended the process
 *   too often.
 * @throws Error while another scoring of the study runs.
 */
export async function beginRun(
  database: Database,
  scoringID: string,
  worker: string,
): Promise<{ scoring: Scoring; run: Run } | undefined> {
  return database.transaction(async (transaction) => {
    const [study] = await transaction.query<{ key: string }>(
      'select archive || study_instance_uid as key from scoring where id = $1',
      [scoringID],
    );
    if (!study) return undefined;
    await transaction.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [study.key]);
    const [scoring] = await transaction.query<Scoring & { crashes: number }>(
      `select ${scoringColumns}, crashes from scoring where id = $1 for update`,
      [scoringID],
    );
    if (!scoring || !['queued', 'running'].includes(scoring.state)) return undefined;
    const others = await transaction.query(
      `select 1 from scoring where archive = $1 and study_instance_uid = $2 and state = 'running' and id <> $3`,
      [scoring.archive, scoring.studyInstanceUID, scoringID],
    );
    if (others.length > 0) throw new Error('another scoring of the study runs');
    const crashes = scoring.crashes + (scoring.state === 'running' ? 1 : 0);
    if (crashes >= crashLimit) {
      await transaction.query(
        "update scoring set state = 'failed', crashes = $2, reason = $3, run = null, finished_at = now() where id = $1",
        [scoringID, crashes, `the process ended ${crashes} times while the study was scored`],
      );
      return undefined;
    }
    const [{ mark }] = await transaction.query<{ mark: string }>(
      `update scoring set state = 'running', crashes = $2, worker = $3, run = gen_random_uuid()
       where id = $1 returning run as mark`,
      [scoringID, crashes, worker],
    );
    return { scoring: { ...scoring, state: 'running' }, run: { scoringID, mark } };
  });
}

/** Changes of a scoring's row. */
export type ScoringChange = Partial<
  Omit<Scoring, 'id' | 'archive' | 'studyInstanceUID' | 'requestedAt' | 'priority' | 'sourceAETitle'> & {
    slices: SliceRecord[];
  }
>;

const columnOf: Record<keyof ScoringChange, string> = {
  state: 'state',
  step: 'step',
  reason: 'reason',
  sourceFingerprint: 'source_fingerprint',
  resultIdentity: 'result_identity',
  bundle: 'bundle',
  profile: 'profile',
  rule: 'rule',
  subject: 'subject',
  selection: 'selection',
  score: 'score',
  slices: 'slices',
  finishedAt: 'finished_at',
};

/**
 * Writes what changed into a scoring's row.
 *
 * @throws RunLostError if the run may no longer change it.
 */
export async function updateScoring(on: Queryable, run: Run, change: ScoringChange): Promise<void> {
  const keys = Object.keys(change) as (keyof ScoringChange)[];
  const changed = await on.query(
    `update scoring set ${keys.map((key, i) => `${columnOf[key]} = $${i + 3}`).join(', ')}
     where id = $1 and run = $2 returning id`,
    [
      run.scoringID,
      run.mark,
      ...keys.map((key) => (key === 'slices' ? JSON.stringify(change[key]) : change[key])),
    ],
  );
  if (changed.length === 0) throw new RunLostError();
}

/** Takes a scoring back, because it would only repeat an earlier one. */
export async function dropScoring(on: Queryable, { scoringID, mark }: Run): Promise<void> {
  await on.query('delete from scoring where id = $1 and run = $2', [scoringID, mark]);
}

/** The scoring of the same study that ended last with a result or without one, other than `scoring`. */
export async function lastFinished(
  on: Queryable,
  scoring: Scoring,
  state: 'scored' | 'any' = 'any',
): Promise<Scoring | undefined> {
  const [row] = await on.query<Scoring>(
    `select ${scoringColumns} from scoring
     where archive = $1 and study_instance_uid = $2 and id <> $3
       and state = any($4)
     order by finished_at desc limit 1`,
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

/** `rejected` ones are still in the archive, and named by a `note` that says not to use them. */
export type ResultRole = 'result' | 'rejected' | 'note';

/** Enters the objects that a scoring writes, before they are written: from then on they are known as ours. */
export async function recordResultObjects(
  on: Queryable,
  archive: string,
  { id, studyInstanceUID }: Scoring,
  objects: InstanceReference[],
  role: ResultRole = 'result',
): Promise<void> {
  for (const [position, { sopInstanceUID, seriesInstanceUID, sopClassUID }] of objects.entries()) {
    await on.query(
      `insert into result_object (archive, sop_instance_uid, series_instance_uid, study_instance_uid,
         sop_class_uid, scoring_id, position, role)
       values ($1, $2, $3, $4, $5, $6, $7, $8)
       on conflict (archive, sop_instance_uid) do update set scoring_id = $6, position = $7, role = $8`,
      [archive, sopInstanceUID, seriesInstanceUID, studyInstanceUID, sopClassUID, id, position, role],
    );
  }
}

/** What objects in an archive tell of a scoring of which nothing else is known any more. */
export type FoundResult = Pick<
  Scoring,
  'archive' | 'studyInstanceUID' | 'requestedAt' | 'bundle' | 'profile' | 'subject' | 'score'
> & {
  /** Those that the report names. */
  slices: SliceRecord[];
  /** The current report first. */
  objects: (InstanceReference & { role: ResultRole })[];
};

/**
 * Enters a result that was found in an archive.
 *
 * @returns false where the study has a scoring.
 */
export async function enterFoundResult(database: Database, found: FoundResult): Promise<boolean> {
  const { archive, studyInstanceUID, requestedAt, bundle, profile, subject, score, slices, objects } = found;
  return database.transaction(async (transaction) => {
    const [scoring] = await transaction.query<Scoring>(
      `insert into scoring (archive, study_instance_uid, requested_at, finished_at, state, bundle, profile, subject,
         score, slices)
       select $1, $2, $3::timestamptz, $3::timestamptz, 'scored', $4, $5, $6::jsonb, $7::jsonb, $8::jsonb
       where not exists (select 1 from scoring where archive = $1 and study_instance_uid = $2)
       returning ${scoringColumns}`,
      [
        archive,
        studyInstanceUID,
        requestedAt,
        bundle,
        profile,
        ...[subject, score, slices].map((value) => value && JSON.stringify(value)),
      ],
    );
    if (!(scoring as Scoring | undefined)) return false;
    for (const [role, those] of Map.groupBy(objects, (object) => object.role)) {
      await recordResultObjects(transaction, archive, scoring, those, role);
    }
    return true;
  });
}

/** Notes that an archive said it has stored objects. */
export async function markAccepted(
  on: Queryable,
  archive: string,
  objects: InstanceReference[],
): Promise<void> {
  await on.query(
    'update result_object set accepted = true where archive = $1 and sop_instance_uid = any($2)',
    [archive, objects.map(({ sopInstanceUID }) => sopInstanceUID)],
  );
}

/** Notes that a rejection note names objects. */
export async function markRejected(
  on: Queryable,
  archive: string,
  objects: InstanceReference[],
): Promise<void> {
  await on.query(
    "update result_object set role = 'rejected' where archive = $1 and sop_instance_uid = any($2)",
    [archive, objects.map(({ sopInstanceUID }) => sopInstanceUID)],
  );
}

/** What an archive said it has stored of a study's results. */
export async function acceptedObjects(
  on: Queryable,
  archive: string,
  { studyInstanceUID }: Scoring,
): Promise<InstanceReference[]> {
  return on.query<InstanceReference>(
    `select ${referenceColumns} from result_object
     where archive = $1 and study_instance_uid = $2 and accepted`,
    [archive, studyInstanceUID],
  );
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

/** The objects that one scoring wrote into an archive, in the order in which it made them. */
export async function resultObjectsOf(
  on: Queryable,
  scoringID: string,
  archive: string,
): Promise<InstanceReference[]> {
  return on.query<InstanceReference>(
    `select ${referenceColumns} from result_object
     where scoring_id = $1 and archive = $2 and role = 'result' order by position`,
    [scoringID, archive],
  );
}

/** Every result that we wrote on a study into an archive, in whichever scoring, and that was not rejected. */
export async function resultObjectsOnStudy(
  on: Queryable,
  archive: string,
  studyInstanceUID: string,
): Promise<InstanceReference[]> {
  return on.query<InstanceReference>(
    `select ${referenceColumns} from result_object
     where archive = $1 and study_instance_uid = $2 and role = 'result'`,
    [archive, studyInstanceUID],
  );
}

/** Which of `sopInstanceUIDs` we made ourselves, whichever archive we sent them to: archives forward. */
export async function ownObjects(on: Queryable, sopInstanceUIDs: string[]): Promise<Set<string>> {
  const rows = await on.query<{ uid: string }>(
    'select distinct sop_instance_uid as uid from result_object where sop_instance_uid = any($1)',
    [sopInstanceUIDs],
  );
  return new Set(rows.map(({ uid }) => uid));
}
