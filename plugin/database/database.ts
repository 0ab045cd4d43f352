import { mkdir } from 'node:fs/promises';
import { PGlite, type Transaction } from '@electric-sql/pglite';
import { pg_trgm } from '@electric-sql/pglite/contrib/pg_trgm';
import { fromPglite, type ConstructorOptions } from 'pg-boss';
import { create, extract } from 'tar';
import { migrate } from './schema.ts';
import { SyncedNodeFS } from './synced-node-fs.ts';

/** What runs SQL: the database, or a transaction on it. */
export interface Queryable {
  /** Rows of one statement; parameters are `$1`, `$2`, … */
  query<Row = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<Row[]>;
}

/** The node's PostgreSQL: index of instances, arrivals, scorings, and the job queue's tables. */
export interface Database extends Queryable {
  /** Commits what `body` did, or, if it throws, nothing of it. */
  transaction<T>(body: (transaction: Queryable) => Promise<T>): Promise<T>;
  /** Whether it runs inside this process, which is then the only one that has it open. */
  readonly embedded: boolean;
  /** How pg-boss reaches the same database. */
  readonly queueOptions: ConstructorOptions;
  /**
   * Writes the embedded database as it is now to a tar file that `restoreEmbeddedDatabase` takes. What asks it
   * something meanwhile waits. A server has none.
   */
  readonly copy?: (file: string) => Promise<void>;
  /**
   * Gives the room of deleted rows to rows that come; files shrink only at their ends. What asks the embedded database
   * something meanwhile waits. A server does it by itself.
   */
  readonly vacuum?: () => Promise<void>;
  close(): Promise<void>;
}

/** PGlite's own, but with every commit on the disk before it is answered. */
const startParams = [
  ...PGlite.defaultStartParams.filter((flag) => flag !== '-F'),
  '-c',
  'wal_sync_method=fsync',
];

/** Opens PostgreSQL embedded in this process (PGlite), its files in `folder`, and brings its schema up to date. */
export async function openEmbeddedDatabase(folder: string): Promise<Database> {
  const pglite = await openPGlite(folder);
  const database: Database = {
    query: (sql, parameters) => queryOn(pglite, sql, parameters),
    transaction: (body) =>
      pglite.transaction((transaction) =>
        body({ query: (sql, parameters) => queryOn(transaction, sql, parameters) }),
      ),
    embedded: true,
    queueOptions: { db: fromPglite(pglite), backend: 'pglite' },
    // The files as they are between two statements, as after a power cut: every commit is in them.
    copy: (file) =>
      pglite.runExclusive(() =>
        create({ cwd: folder, file, mode: 0o600, filter: (path) => !path.endsWith('postmaster.pid') }, ['.']),
      ),
    // No process of its own does it, as a server's autovacuum would. Not ANALYZE: it would hold the node for seconds.
    vacuum: async () => {
      await pglite.query('vacuum');
    },
    close: () => pglite.close(),
  };
  await migrate(database);
  return database;
}

/** Lays the copy of an embedded database into `folder`, which must not exist, and sees that it opens. */
export async function restoreEmbeddedDatabase(folder: string, file: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  await extract({
    file,
    cwd: folder,
    onwarn: (code, message) => {
      if (code !== 'TAR_ENTRY_INFO') throw new Error(`${file}: ${message}`); // a path began with a slash
    },
  });
  await (await openPGlite(folder)).close();
}

function openPGlite(folder: string) {
  return PGlite.create({ fs: new SyncedNodeFS(folder), startParams, extensions: { pg_trgm } });
}

async function queryOn<Row>(on: PGlite | Transaction, sql: string, parameters?: unknown[]): Promise<Row[]> {
  return (await on.query<Row>(sql, parameters)).rows;
}

/** A transaction, as pg-boss takes it, so that a job is created or not together with our own rows. */
export function queueInTransaction(transaction: Queryable) {
  return {
    executeSql: async (text: string, values?: unknown[]) => ({ rows: await transaction.query(text, values) }),
  };
}
