import type { Database } from '../database/database.ts';
import type { RequestOptions, Requested } from './backfill.ts';
import type { JobQueue } from './queue.ts';

/** Which studies are scored again: all conditions must hold. */
export interface RescoreFilter {
  archive?: string | undefined;
  /** StudyInstanceUIDs. */
  studies?: string[] | undefined;
  /** ID of the bundle that they were scored with last. */
  bundle?: string | undefined;
}

/**
 * Queues studies again whose last scoring has come to its end, the latest first. A study for which nothing changed
 * since, neither its instances nor what it would be scored with, keeps its result.
 */
export async function rescore(
  database: Database,
  queue: Pick<JobQueue, 'request'>,
  { archive, studies, bundle }: RescoreFilter,
  { limit, priority, dryRun }: RequestOptions,
): Promise<Requested> {
  const found = await database.query<{ archive: string; studyInstanceUID: string }>(
    `select archive, study_instance_uid as "studyInstanceUID" from (
       select distinct on (archive, study_instance_uid) archive, study_instance_uid, requested_at, state, bundle
       from scoring order by archive, study_instance_uid, requested_at desc) last
     where state not in ('queued', 'running')
       and ($1::text is null or archive = $1) and ($2::text[] is null or study_instance_uid = any($2))
       and ($3::text is null or bundle = $3)
     order by requested_at desc`,
    [archive ?? null, studies ?? null, bundle ?? null],
  );
  const chosen = found.slice(0, limit);
  if (!dryRun) {
    for (const study of chosen) {
      await database.transaction((transaction) => queue.request(transaction, study, { priority }));
    }
  }
  return { found: found.length, studies: chosen.map(({ studyInstanceUID }) => studyInstanceUID) };
}
