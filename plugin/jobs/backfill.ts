import type { SearchableArchive } from '../archive/archive.ts';
import type { Database } from '../database/database.ts';
import type { JobQueue } from './queue.ts';

/** What a request for many studies came to. */
export interface Requested {
  /** Studies that were looked at. */
  found: number;
  /** Those that are scored now, or would be: StudyInstanceUIDs. */
  studies: string[];
}

/** How many studies are asked for, how urgently, and whether they are only named. */
export interface RequestOptions {
  /** At most so many studies are queued. */
  limit: number;
  /** Higher goes first; what arrives has 0. */
  priority: number;
  /** Queues nothing. */
  dryRun: boolean;
}

const pageSize = 200;

/**
 * Queues studies of an archive that match a QIDO-RS query and that nobody asked to be scored before.
 *
 * @param query matching keys by keyword or tag (PS3.18 section 8.3.4)
 * @throws Error if the archive does not answer; what was queued before stays.
 */
export async function backfill(
  database: Database,
  queue: Pick<JobQueue, 'request'>,
  archive: SearchableArchive,
  query: Record<string, string>,
  { limit, priority, dryRun }: RequestOptions,
): Promise<Requested> {
  const seen = new Set<string>();
  const studies: string[] = [];
  for (;;) {
    const page = await archive.studies(query, { limit: pageSize, offset: seen.size });
    const uids = page.map(({ studyInstanceUID }) => studyInstanceUID).filter((uid) => !seen.has(uid));
    if (uids.length === 0) break; // the end, or an archive that ignores the offset
    for (const uid of uids) seen.add(uid);
    const known = await database.query<{ uid: string }>(
      `select study_instance_uid as uid from scoring where archive = $1 and study_instance_uid = any($2)
       union select study_instance_uid from arrival where archive = $1 and study_instance_uid = any($2)`,
      [archive.name, uids],
    );
    const asked = new Set(known.map(({ uid }) => uid));
    for (const studyInstanceUID of uids.filter((uid) => !asked.has(uid)).slice(0, limit - studies.length)) {
      studies.push(studyInstanceUID);
      if (dryRun) continue;
      await database.transaction((transaction) =>
        queue.request(transaction, { archive: archive.name, studyInstanceUID }, { priority }),
      );
    }
    if (studies.length === limit) break;
  }
  return { found: seen.size, studies };
}
