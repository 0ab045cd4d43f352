import { openDataFolder } from '../data-folder/data-folder.ts';
import { DataFolderLockedError, lockDataFolder } from '../data-folder/lock.ts';
import type { Database } from '../database/database.ts';
import { openDatabase } from '../database/open-database.ts';
import { JobQueue } from '../jobs/queue.ts';
import { createLog } from '../log.ts';
import { loadSettings, type Settings } from '../settings.ts';

/** Sends a request to the JSON API; returns the body of the answer. Throws what a problem says. */
export type CallApi = (method: 'GET' | 'POST', path: string, body?: object) => Promise<unknown>;

/** What a command works on where no node runs. */
export interface OpenedDatabase {
  settings: Settings;
  database: Database;
  queue: JobQueue;
}

/** Asks the node that has the data folder open; where none has, opens the database itself. */
export async function withNodeOrDatabase(
  throughNode: (call: CallApi) => Promise<void>,
  onDatabase: (opened: OpenedDatabase) => Promise<void>,
): Promise<void> {
  const settings = loadSettings();
  const folder = openDataFolder(settings.data);
  let lock;
  try {
    lock = await lockDataFolder(folder.root);
  } catch (error) {
    if (!(error instanceof DataFolderLockedError)) throw error;
    return throughNode(apiOf(settings));
  }
  try {
    const log = createLog('silent');
    const database = await openDatabase(settings, folder, log);
    try {
      const queue = await JobQueue.open({ database, log, settings: settings.jobs, worker: 'command line' });
      try {
        await onDatabase({ settings, database, queue });
      } finally {
        await queue.close(1000);
      }
    } finally {
      await database.close();
    }
  } finally {
    lock.release();
  }
}

function apiOf({ http: { host, port } }: Settings): CallApi {
  const root = `http://${host.includes(':') ? `[${host}]` : host}:${port}/api/v1`;
  return async (method, path, body) => {
    const sent = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const answer = await fetch(`${root}${path}`, { method, ...sent }).catch((error: unknown) => {
      throw new Error(`the node that has the data folder open does not answer at ${root}`, { cause: error });
    });
    const received = (await answer.json()) as { detail?: string; title?: string };
    if (!answer.ok) {
      throw new Error(received.detail ?? received.title ?? `${root} answered ${answer.status}`);
    }
    return received;
  };
}
