import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { auditFolder } from '../access/audit-log.ts';
import type { Database } from '../database/database.ts';
import type { Settings } from '../settings.ts';
import { localArchiveName, type InstanceStore } from '../store/instance-store.ts';

/** Studies that are asked for at once. */
const studiesAtOnce = 100;
const dayMs = 24 * 3600_000;

/** What a pass removed. */
export interface Removed {
  studies: number;
  scorings: number;
  maps: number;
  auditDays: number;
}

/**
 * Removes what the settings no longer let be kept at `now`: studies of the node's own store of which nothing came
 * for so long, with their results; ended scorings, and with them the scores in worklist and API, not what readers
 * said; what pictures of slices the node keeps of any archive's studies; days of the audit log. What waits or runs
 * stays. Once `signal` is aborted, what is left waits for the next pass.
 */
export async function applyRetention(
  database: Database,
  store: InstanceStore,
  dataFolder: string,
  { studiesDays, scoringsDays, mapsDays, auditDays }: Settings['retention'],
  now: Date = new Date(),
  signal?: AbortSignal,
): Promise<Removed> {
  const before = (days: number) => new Date(now.getTime() - days * dayMs);
  const removed: Removed = { studies: 0, scorings: 0, maps: 0, auditDays: 0 };
  for (let more = studiesDays !== undefined; more && !signal?.aborted;) {
    const studies = await database.query<{ uid: string }>(
      `select study_instance_uid as uid from study s
       where stored_at < $1
         and not exists (select 1 from instance i where i.study_instance_uid = s.study_instance_uid and stored_at >= $1)
         and not exists (select 1 from arrival a where a.archive = $2 and a.study_instance_uid = s.study_instance_uid)
         and not exists (select 1 from scoring c where c.archive = $2 and c.study_instance_uid = s.study_instance_uid
           and c.state in ('queued', 'running'))
       limit ${studiesAtOnce}`,
      [before(studiesDays!), localArchiveName],
    );
    more = studies.length === studiesAtOnce;
    for (const { uid } of studies) {
      await store.remove((await store.find(uid)).map(({ sopInstanceUID }) => sopInstanceUID));
      await database.query('delete from result_object where archive = $1 and study_instance_uid = $2', [
        localArchiveName,
        uid,
      ]);
      await database.query(
        `delete from anomaly_map using scoring
         where scoring_id = scoring.id and archive = $1 and study_instance_uid = $2`,
        [localArchiveName, uid],
      );
      removed.studies++;
    }
  }
  if (scoringsDays !== undefined) {
    const rows = await database.query(
      `with gone as (
         delete from scoring where finished_at < $1 and state not in ('queued', 'running')
         returning archive, study_instance_uid),
       noted as (
         update study set scoring_forgotten = true
         where study_instance_uid in (select study_instance_uid from gone where archive = $2))
       select 1 from gone`,
      [before(scoringsDays), localArchiveName],
    );
    removed.scorings = rows.length;
  }
  if (mapsDays !== undefined) {
    const rows = await database.query(
      `delete from anomaly_map using scoring
       where scoring_id = scoring.id and finished_at < $1 and state not in ('queued', 'running') returning slice`,
      [before(mapsDays)],
    );
    removed.maps = rows.length;
  }
  const earliest = before(auditDays).toISOString().slice(0, 10);
  for (const file of await readdir(auditFolder(dataFolder)).catch(() => [])) {
    if (!/^\d{4}-\d\d-\d\d\.jsonl$/.test(file) || file.slice(0, 10) >= earliest) continue;
    await rm(join(auditFolder(dataFolder), file));
    removed.auditDays++;
  }
  return removed;
}
