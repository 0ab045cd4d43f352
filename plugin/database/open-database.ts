import { hostname } from 'node:os';
import type { DataFolder } from '../data-folder/data-folder.ts';
import type { Logger } from '../log.ts';
import type { Settings } from '../settings.ts';
import { openEmbeddedDatabase, type Database } from './database.ts';
import { lockForNode } from './node-lock.ts';
import { openPostgres } from './postgres.ts';

/**
 * Opens the database that the settings name, for the one node or command that may work on its index; without one,
 * that in the data folder, of which the lock is held.
 *
 * @param onLost called if another node took a server's database, after its connections were lost
 * @throws DatabaseInUseError if another node has the server's database.
 */
export async function openDatabase(
  settings: Settings,
  folder: DataFolder,
  log: Logger,
  onLost: (error: Error) => void = () => undefined,
): Promise<Database> {
  const { url } = settings.database;
  if (url === undefined) return openEmbeddedDatabase(folder.database);
  const database = await openPostgres(url, log);
  try {
    const lock = await lockForNode(url, `${hostname()}:${folder.root}`, log, onLost);
    return {
      ...database,
      async close() {
        await database.close();
        await lock.release();
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}
