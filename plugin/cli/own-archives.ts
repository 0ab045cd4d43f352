import { DicomPool } from '../../dicom/pool.ts';
import type { Archive } from '../archive/archive.ts';
import { openArchives } from '../archive/archives.ts';
import { localArchive } from '../archive/local-archive.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { InstanceStore } from '../store/instance-store.ts';
import type { OpenedDatabase } from './node-or-database.ts';

/** Lets a command use the archives of the settings and the node's own store, where no node runs. */
export async function withArchives<Result>(
  { settings, database }: Pick<OpenedDatabase, 'settings' | 'database'>,
  body: (archives: Map<string, Archive>) => Promise<Result>,
): Promise<Result> {
  const { instances, incoming } = openDataFolder(settings.data);
  const pool = new DicomPool({ threads: 1 });
  const store = new InstanceStore(database, instances);
  const { sources, destinations } = openArchives(settings, localArchive({ database, store, pool, incoming }));
  try {
    return await body(sources);
  } finally {
    for (const one of destinations.values()) await one.close();
    await pool.close();
  }
}
