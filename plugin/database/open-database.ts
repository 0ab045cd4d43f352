import type { DataFolder } from '../data-folder/data-folder.ts';
import type { Logger } from '../log.ts';
import type { Settings } from '../settings.ts';
import { openEmbeddedDatabase, type Database } from './database.ts';
import { openPostgres } from './postgres.ts';

/** Opens the database that the settings name; without one, that in the data folder, of which the lock is held. */
export function openDatabase(settings: Settings, folder: DataFolder, log: Logger): Promise<Database> {
  const { url } = settings.database;
  return url === undefined ? openEmbeddedDatabase(folder.database) : openPostgres(url, log);
}
