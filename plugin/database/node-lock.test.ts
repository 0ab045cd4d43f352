import { setTimeout as sleep } from 'node:timers/promises';
import { pgBouncer, startPgBouncer, type PgBouncer } from '../../fixtures/pgbouncer.ts';
import { startPostgres, type Postgres } from '../../fixtures/postgres.ts';
import { describeWith } from '../../fixtures/required-program.ts';
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

  /** Takes the lock as soon as the server can be reached. */
  const lockWhenThere = async (holder: string) => {
    for (;;) {
      try {
        return await lock(holder);
      } catch (error) {
        if (error instanceof DatabaseInUseError) throw error;
        await sleep(50);
      }
    }
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
    const isTaken = async () =>
      lock('b').then(
        async (taken) => (await taken.release(), false),
        (error: unknown) => error instanceof DatabaseInUseError,
      );
    while (!(await isTaken())) await sleep(100);
    await one.release();
    expect(lost).toEqual([]);
  });

  test('that restarts may give it to another node: then the first one is told to end', async () => {
    const one = await lock('a');
    await server.stop();
    const [other] = await Promise.all([lockWhenThere('b'), server.start()]);
    while (lost.length === 0) await sleep(100);
    expect(lost).toEqual([expect.stringMatching(/^a: another node has the database: qfae node b/)]);
    await Promise.all([one.release(), other.release()]);
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
      const transactions = await pool('transaction');
      await expect(lock('a', transactions.url)).rejects.toThrow(/^database\.url: .* pool_mode = session/);
      const direct = await lock('a');
      await direct.release();
    });
  });
});
