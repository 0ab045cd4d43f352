import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from '../log.ts';

/** Another node has the database. */
export class DatabaseInUseError extends Error {
  override name = 'DatabaseInUseError';
}

/** Held while a node has the database; any number that no one else takes. */
const nodeLock = 7_386_533;

/** A machine that vanished is given up by the server after this time, and its lock with it. */
const keepalives =
  'set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3';

const retryMs = 2000;

/**
 * Keeps other nodes away from a PostgreSQL server: the index in it names files of one data folder, so of several
 * nodes each would promise what another one stores. The lock belongs to a connection and ends with it; when it is
 * lost with the server, it is taken again as soon as there is one.
 *
 * @param holder what others are told of who has it
 * @param onLost called if another node took it meanwhile: then this one must end.
 * @throws DatabaseInUseError if another node has it; Error if connections of this URL share sessions.
 */
export async function lockForNode(
  url: string,
  holder: string,
  log: Logger,
  onLost: (error: DatabaseInUseError) => void,
): Promise<{ release(): Promise<void> }> {
  const releasing = new AbortController();
  const { signal } = releasing;
  let client = await takeLock(url, holder);
  const keep = async () => {
    for (;;) {
      await endOf(client, signal);
      if (signal.aborted) return;
      log.warn('the connection that keeps other nodes from the database was lost');
      for (let taken = false; !taken;) {
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) return;
        try {
          client = await takeLock(url, holder);
          taken = true;
        } catch (error) {
          if (error instanceof DatabaseInUseError) {
            onLost(error);
            return;
          }
        }
      }
    }
  };
  const keeping = keep();
  return {
    async release() {
      releasing.abort();
      await keeping;
      await client.end().catch(() => undefined);
    },
  };
}

/** Takes the lock, and sees that it keeps a second connection away. */
async function takeLock(url: string, holder: string): Promise<pg.Client> {
  const client = await tryLock(url, holder);
  try {
    const second = await tryLock(url, holder);
    await second.query('select pg_advisory_unlock_all()'); // the pool keeps the session
    await second.end();
    throw new Error(
      'database.url: two connections share a session, so nothing keeps a second node from the database. Give the server itself, or a pool of sessions, not of transactions (PgBouncer: pool_mode = session)',
    );
  } catch (error) {
    if (error instanceof DatabaseInUseError) return client;
    await client.end().catch(() => undefined);
    throw error;
  }
}

async function tryLock(url: string, holder: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    keepAlive: true,
    connectionTimeoutMillis: 10_000,
    application_name: `qfae node ${holder}`,
  });
  client.on('error', () => undefined); // whoever waits for its end hears of it
  try {
    await client.connect();
    await client.query(keepalives);
    const { rows } = await client.query<{ taken: boolean; other: string | null; address: string | null }>(
      `select pg_try_advisory_lock($1) as taken, application_name as other, host(client_addr) as address
       from (select) as this left join (pg_locks join pg_stat_activity using (pid)) on locktype = 'advisory'
         and granted and (classid::bigint << 32 | objid::bigint) = $1 and pid <> pg_backend_pid()
         and pg_locks.database = (select oid from pg_database where datname = current_database())`,
      [nodeLock],
    );
    const [{ taken, other, address }] = rows;
    if (taken) return client;
    throw new DatabaseInUseError(
      `another node has the database: ${other ?? 'its name is not told'}${address === null ? '' : ` at ${address}`}. One node works on a database; further machines help it as workers (qfae worker)`,
    );
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

/** Resolves when a connection has ended, or at the signal. */
function endOf(client: pg.Client, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      resolve();
    };
    client.once('end', done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}
