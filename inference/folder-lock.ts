import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { relative, resolve } from 'node:path';

/** Another process has the folder open. */
export class FolderLockedError extends Error {
  override name = 'FolderLockedError';
}

/**
 * Locks a folder (the node's data, a training run's) against a second process, by listening on a socket in it. The
 * kernel closes the socket with the process, so a lock never outlives its holder, not even after `kill -9`.
 *
 * @throws FolderLockedError if another process holds the lock.
 */
export async function lockFolder(folder: string): Promise<{ release(): void }> {
  // The kernel allows a socket's path about a hundred bytes.
  const absolute = resolve(folder, 'lock');
  const path = [absolute, relative('', absolute)].find((path) => Buffer.byteLength(path) <= 100);
  if (path === undefined) throw new Error(`${folder}: too long a path to lock (at most 95 bytes)`);
  for (;;) {
    const server = await listen(path);
    if (server) {
      server.unref();
      return { release: () => server.close() };
    }
    if (await answers(path)) {
      throw new FolderLockedError(`${folder}: another process has this folder open`);
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
