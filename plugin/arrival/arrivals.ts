import type { Queryable } from '../database/database.ts';

/** A study of which something arrived, and that was not taken for scoring since. */
export interface Arrival {
  archive: string;
  studyInstanceUID: string;
  /** When the first of it arrived. */
  firstSeenAt: Date;
  /** When the last of it arrived. */
  changedAt: Date;
  /** How many of its instances have arrived since `firstSeenAt`; those that were there before do not count. */
  instances: number;
  /** AE title of the last C-STORE sender. */
  sourceAETitle: string | null;
  /** The ID of the scoring that it will become: the log shows it from the first instance to the result. */
  scoringID: string;
}

/** What came, beside the fact that something came. */
export interface ArrivalDetail {
  at?: Date;
  /** Default 1. */
  instances?: number;
  sourceAETitle?: string;
}

/** Notes that something of a study arrived: its quiet time starts anew. Returns the ID of the scoring to come. */
export async function noteArrival(
  on: Queryable,
  archive: string,
  studyInstanceUID: string,
  { at = new Date(), instances = 1, sourceAETitle }: ArrivalDetail = {},
): Promise<string> {
  const [{ id }] = await on.query<{ id: string }>(
    `insert into arrival (archive, study_instance_uid, first_seen_at, changed_at, instances, source_ae_title)
     values ($1, $2, $3, $3, $4, $5)
     on conflict (archive, study_instance_uid) do update
       set changed_at = greatest(arrival.changed_at, excluded.changed_at),
         instances = arrival.instances + excluded.instances,
         source_ae_title = coalesce(excluded.source_ae_title, arrival.source_ae_title)
     returning scoring_id as id`,
    [archive, studyInstanceUID, at, instances, sourceAETitle ?? null],
  );
  return id;
}

/**
 * Notes the arrival of every study in the node's own store, stored at `since` or later, of which neither an arrival
 * nor a scoring is known, nor was until retention: who took it in was killed, or the queue was lost. Returns their
 * UIDs.
 */
export async function noteForgotten(on: Queryable, archive: string, since: Date): Promise<string[]> {
  const rows = await on.query<{ uid: string }>(
    `insert into arrival (archive, study_instance_uid, changed_at)
     select $1, s.study_instance_uid, now() from study s
     where s.stored_at >= $2 and not s.scoring_forgotten
       and not exists (select 1 from scoring
         where archive = $1 and study_instance_uid = s.study_instance_uid)
       and exists (select 1 from instance i where i.study_instance_uid = s.study_instance_uid
         and not exists (select 1 from result_object where sop_instance_uid = i.sop_instance_uid))
     on conflict do nothing returning study_instance_uid as uid`,
    [archive, since],
  );
  return rows.map(({ uid }) => uid);
}

const columns = `archive, study_instance_uid as "studyInstanceUID", first_seen_at as "firstSeenAt",
  changed_at as "changedAt", instances, source_ae_title as "sourceAETitle", scoring_id as "scoringID"`;

/** Every study of which something arrived, the one that waits longest first. */
export async function arrivals(on: Queryable): Promise<Arrival[]> {
  return on.query<Arrival>(`select ${columns} from arrival order by changed_at`);
}

/** What arrived of a study since it was last taken for scoring, if anything did. */
export async function arrivalOf(
  on: Queryable,
  archive: string,
  studyInstanceUID: string,
): Promise<Arrival | undefined> {
  const [row] = await on.query<Arrival>(
    `select ${columns} from arrival where archive = $1 and study_instance_uid = $2`,
    [archive, studyInstanceUID],
  );
  return row;
}

/** Takes a study off the list, unless something more of it arrived since `changedAt`. */
export async function takeArrival(on: Queryable, study: Arrival): Promise<boolean> {
  const rows = await on.query(
    `delete from arrival where archive = $1 and study_instance_uid = $2 and changed_at = $3 returning archive`,
    [study.archive, study.studyInstanceUID, study.changedAt],
  );
  return rows.length > 0;
}
