import type { Queryable } from '../database/database.ts';

/** A study of which something arrived, now quiet. */
export interface QuietStudy {
  archive: string;
  studyInstanceUID: string;
  /** When the last of it arrived. */
  changedAt: Date;
}

/** Notes that something of a study arrived: its quiet time starts anew. */
export async function noteArrival(
  on: Queryable,
  archive: string,
  studyInstanceUID: string,
  at: Date = new Date(),
): Promise<void> {
  await on.query(
    `insert into arrival (archive, study_instance_uid, changed_at) values ($1, $2, $3)
     on conflict (archive, study_instance_uid) do update
       set changed_at = greatest(arrival.changed_at, excluded.changed_at)`,
    [archive, studyInstanceUID, at],
  );
}

/** Studies of which nothing has arrived for `quietSeconds`, the one that waits longest first. */
export async function quietStudies(
  on: Queryable,
  quietSeconds: number,
  now: Date = new Date(),
): Promise<QuietStudy[]> {
  return on.query<QuietStudy>(
    `select archive, study_instance_uid as "studyInstanceUID", changed_at as "changedAt"
     from arrival where changed_at <= $1 order by changed_at`,
    [new Date(now.getTime() - quietSeconds * 1000)],
  );
}

/** Takes a study off the list, unless something more of it arrived since `changedAt`. */
export async function takeArrival(on: Queryable, study: QuietStudy): Promise<boolean> {
  const rows = await on.query(
    `delete from arrival where archive = $1 and study_instance_uid = $2 and changed_at = $3 returning archive`,
    [study.archive, study.studyInstanceUID, study.changedAt],
  );
  return rows.length > 0;
}
