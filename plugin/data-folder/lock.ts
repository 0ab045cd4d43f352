import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';

/** A second process has the data folder open. */
export class DataFolderLockedError extends Error {
  override name = 'DataFolderLockedError';
}

/**
 * Locks a data folder against a second process, by listening on a socket in it. The kernel closes the socket
 * with the process, so a lock never outlives its holder, not even after `kill -9`.
 *
 * @throws DataFolderLockedError if another process holds the lock.
 */
export async function lockDataFolder(folder: string): Promise<{ release(): void }> {
  const path = join(folder, 'lock');
  if (Buffer.byteLength(path) > 100) {
    throw new Error(`${folder}: too long a path for a data folder (at most 95 bytes)`);
  }
  for (;;) {
    const server = await listen(path);
    if (server) {
      server.unref();
      return { release: () => server.close() };
    }
    if (await answers(path)) {
      throw new DataFolderLockedError(`${folder}: another process has this data folder open`);
    }
    rmSync(path, { force: true });
  }
}

/** A server on the socket, or undefined where the socket's file exists already. */
async function listen(path: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen(path);
    await once(server, 'listening');
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
    throw error;
  }
}

async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
