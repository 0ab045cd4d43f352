import type { Database } from '../database/database.ts';
import type { InstanceStore, StoredInstance } from './instance-store.ts';

/**
 * Removes the files of instances that are no longer in the index: a worker has no other way to them, and a process
 * that was killed may have left some. What was sent again meanwhile is no longer among them, and stays.
 */
export async function removeDiscardedFiles(database: Database, store: InstanceStore): Promise<void> {
  const discarded = await database.query<{ uid: string }>(
    'select sop_instance_uid as uid from discarded_file',
  );
  for (const { uid } of discarded) {
    await store.alone([uid], async () => {
      const [file] = await database.query<StoredInstance>(
        `select sop_instance_uid as "sopInstanceUID", series_instance_uid as "seriesInstanceUID",
           study_instance_uid as "studyInstanceUID" from discarded_file where sop_instance_uid = $1`,
        [uid],
      );
      if (!file) return;
      await store.removeFile(file);
      await database.query('delete from discarded_file where sop_instance_uid = $1', [uid]);
    });
  }
}
