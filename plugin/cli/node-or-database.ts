import { userInfo } from 'node:os';
import { fetch } from 'undici';
import { createToken, revokeToken, tokenFolder } from '../access/token.ts';
import { apiPath } from '../api/router.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { FolderLockedError, lockFolder } from '../../inference/folder-lock.ts';
import type { Database } from '../database/database.ts';
import { openDatabase } from '../database/open-database.ts';
import { ownNode } from '../http/own-node.ts';
import { JobQueue } from '../jobs/queue.ts';
import { createLog } from '../log.ts';
import { loadSettings, type Settings } from '../settings.ts';

/** Sends a request to the API; returns the body of the answer: JSON, or a page as text. Throws what a problem says. */
export type CallApi = (method: 'GET' | 'POST', path: string, body?: object) => Promise<unknown>;

/** A command that was killed leaves a token behind that is valid for this long. */
const commandLineTokenMs = 3600_000;

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
    lock = await lockFolder(folder.root);
  } catch (error) {
    if (!(error instanceof FolderLockedError)) throw error;
    return askNode(settings, throughNode);
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

/**
 * The API of the node on this machine. Whoever may write its data folder may do what it does: a token is made for
 * this command, and revoked when it has ended.
 */
export async function askNode(settings: Settings, body: (call: CallApi) => Promise<void>): Promise<void> {
  const { url, dispatcher } = ownNode(settings);
  const root = `${url}${apiPath}`;
  const folder = tokenFolder(settings.data);
  const { token, entry } = await createToken(folder, {
    name: `command line of ${userInfo().username}`,
    roles: ['admin'],
    expiresAt: new Date(Date.now() + commandLineTokenMs),
  });
  try {
    await body(async (method, path, sent) => {
      const answer = await fetch(`${root}${path}`, {
        method,
        dispatcher,
        headers: {
          authorization: `Bearer ${token}`,
          ...(sent && { 'content-type': 'application/json' }),
        },
        ...(sent && { body: JSON.stringify(sent) }),
      }).catch((error: unknown) => {
        throw new Error(`the node that has the data folder open does not answer at ${root}`, {
          cause: error,
        });
      });
      if (answer.headers.get('content-type')?.startsWith('text/html')) return answer.text();
      const received = (await answer.json()) as { detail?: string; title?: string };
      if (!answer.ok) {
        throw new Error(received.detail ?? received.title ?? `${root} answered ${answer.status}`);
      }
      return received;
    });
  } finally {
    await revokeToken(folder, entry.id);
    await dispatcher.close();
  }
}
