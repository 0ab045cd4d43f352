import pg from 'pg';
import type { Logger } from '../log.ts';
import { migrate } from './schema.ts';
import type { Database, Queryable } from './database.ts';

/** A connection that cannot be had for this long counts as an error of whoever asked for it. */
const connectionTimeoutMillis = 10_000;

/**
 * Opens a PostgreSQL server by its URL and brings its schema up to date. A connection that is lost is an error of
 * the statement that ran on it; the next statement gets a new one.
 *
 * @throws Error if the server cannot be reached; it names server and database, never the password.
 */
export async function openPostgres(url: string, log: Logger): Promise<Database> {
  const options = { connectionString: url, connectionTimeoutMillis, keepAlive: true };
  const pool = new pg.Pool({ ...options, application_name: 'qfae', max: 10 });
  pool.on('error', (error) => {
    log.warn({ error }, 'an idle connection to the database was lost');
  });
  const database: Database = {
    query: (sql, parameters) => queryOn(pool, sql, parameters),
    transaction: (body) => transactionOn(pool, body),
    embedded: false,
    queueOptions: { ...options, application_name: 'qfae jobs', max: 4 },
    close: () => pool.end(),
  };
  try {
    await migrate(database);
  } catch (error) {
    await pool.end();
    const { host, pathname } = new URL(url);
    throw new Error(`database ${host}${pathname}: ${(error as Error).message}`, { cause: error });
  }
  return database;
}

async function queryOn<Row>(
  on: pg.Pool | pg.PoolClient,
  sql: string,
  parameters?: unknown[],
): Promise<Row[]> {
  return (await on.query(sql, parameters)).rows as Row[];
}

async function transactionOn<T>(pool: pg.Pool, body: (transaction: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: Error) => {
    broken = error; // without a listener, a connection lost while it is in use would end the process
  };
  client.on('error', onError);
  try {
    await client.query('begin');
    const result = await body({ query: (sql, parameters) => queryOn(client, sql, parameters) });
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(onError);
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}
