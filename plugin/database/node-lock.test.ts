import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import pg from 'pg';
import { pgBouncer, startPgBouncer, type PgBouncer } from '../../fixtures/pgbouncer.ts';
import { startPostgres, type Postgres } from '../../fixtures/postgres.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { until } from '../../fixtures/until.ts';
import { createLog } from '../log.ts';
import { DatabaseInUseError, lockForNode } from './node-lock.ts';

describeWith(['/usr/lib/postgresql'], 'a PostgreSQL server', () => {
  let server: Postgres;
  const lost: string[] = [];
  const lock = (holder: string, url = server.url) =>
    lockForNode(url, holder, createLog('silent'), (error) => {
      lost.push(`${holder}: ${error.message}`);
    });

  beforeAll(async () => {
    server = await startPostgres();
  });

  afterAll(async () => {
    await server.remove();
  });

  /** Whether the lock is held. Asked for, not tried: whoever tries it takes it, if only for a moment. */
  const isHeld = async () => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    const { rowCount } = await client.query("select from pg_locks where locktype = 'advisory' and granted");
    await client.end();
    return rowCount === 1;
  };

  test('has one node, and tells a second one which; the lock ends with its holder', async () => {
    const one = await lock('a:/data');
    const refused = await lock('b:/data').catch((error: unknown) => error as Error);
    expect(refused).toBeInstanceOf(DatabaseInUseError);
    expect((refused as Error).message).toMatch(
      /another node has the database: qfae node a:\/data at 127\.0\.0\.1\./,
    );
    await one.release();
    const other = await lock('b:/data');
    await other.release();
    expect(lost).toEqual([]);
  });

  test('that restarts gives the lock back to who had it', async () => {
    const one = await lock('a');
    await server.stop();
    await server.start();
    await until('the lock is held again', isHeld);
    await expect(lock('b')).rejects.toThrow(/another node has the database: qfae node a/);
    await one.release();
    expect(lost).toEqual([]);
  });

  test('that restarts may give it to another node: then the first one is told to end', async () => {
    let open = true;
    const way = createServer((near) => {
      if (!open) return near.destroy();
      const far = connect(Number(new URL(server.url).port), '127.0.0.1');
      far.on('error', () => near.destroy());
      return near
        .on('error', () => far.destroy())
        .pipe(far)
        .pipe(near);
    }).listen(0, '127.0.0.1');
    await once(way, 'listening');
    const url = new URL(server.url);
    url.port = String((way.address() as AddressInfo).port);
    const one = await lock('a', url.href);
    open = false; // so that the other one is first
    await server.stop();
    await server.start();
    const other = await lock('b');
    open = true;
    await until('the first one is told', () => lost.length > 0);
    expect(lost).toEqual([expect.stringMatching(/^a: another node has the database: qfae node b/)]);
    await Promise.all([one.release(), other.release()]);
    way.close();
  });

  describeWith([pgBouncer], 'behind a pool', () => {
    const pools: PgBouncer[] = [];
    const pool = async (mode: 'session' | 'transaction') => {
      pools.push(await startPgBouncer(server, mode));
      return pools.at(-1)!;
    };

    afterAll(async () => {
      for (const each of pools) await each.stop();
    });

    test('of sessions has one node; one of transactions, which gives the lock to every node, has none', async () => {
      const sessions = await pool('session');
      const one = await lock('a', sessions.url);
      await expect(lock('b', sessions.url)).rejects.toThrow('another node has the database: qfae node a');
      await one.release();
      await until('the pool to give the lock back', async () => !(await isHeld()));
      const transactions = await pool('transaction');
      await expect(lock('a', transactions.url)).rejects.toThrow(/^database\.url: .* pool_mode = session/);
      const direct = await lock('a');
      await direct.release();
    });
  });
});
