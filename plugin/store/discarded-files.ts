import { rm, stat } from 'node:fs/promises';
import type { Database } from '../database/database.ts';
import type { InstanceStore, StoredInstance } from './instance-store.ts';

/**
 * Removes the files of instances that are no longer in the index: a worker has no other way to them, and a process
 * that was killed may have left some. A file that is newer than the removal was sent again and stays.
 */
export async function removeDiscardedFiles(database: Database, store: InstanceStore): Promise<void> {
  const discarded = await database.query<StoredInstance & { discardedAt: Date }>(
    `select sop_instance_uid as "sopInstanceUID", series_instance_uid as "seriesInstanceUID",
       study_instance_uid as "studyInstanceUID", discarded_at as "discardedAt" from discarded_file`,
  );
  for (const file of discarded) {
    const path = store.path(file);
    const found = await stat(path).catch(() => undefined);
    if (found && found.mtime < file.discardedAt) await rm(path, { force: true });
    await database.query('delete from discarded_file where sop_instance_uid = $1 and discarded_at = $2', [
      file.sopInstanceUID,
      file.discardedAt,
    ]);
  }
}
