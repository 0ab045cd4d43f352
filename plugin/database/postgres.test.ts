import { createLog } from '../log.ts';
import { startPostgres, type Postgres } from '../../fixtures/postgres.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { openPostgres } from './postgres.ts';

describeWith(['/usr/lib/postgresql'], 'a PostgreSQL server', () => {
  let server: Postgres;

  beforeAll(async () => {
    server = await startPostgres();
  });

  afterAll(async () => {
    await server.remove();
  });

  test('gets its schema once, though two processes open it at once; a transaction is whole or not at all', async () => {
    const log = createLog('silent');
    const [one, other] = await Promise.all([openPostgres(server.url, log), openPostgres(server.url, log)]);
    expect(await one.query('select count(*)::integer as rows from schema_version')).toEqual([{ rows: 1 }]);
    const failing = one.transaction(async (transaction) => {
      await transaction.query("insert into study values ('1.2', '{}')");
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await other.query('select 1 from study')).toEqual([]);
    await Promise.all([one.close(), other.close()]);
  });

  test('may go away and come back, also within a transaction', async () => {
    const database = await openPostgres(server.url, createLog('silent'));
    await database.query("insert into study values ('1.3', '{}')");
    const broken = database.transaction(async (transaction) => {
      await transaction.query("insert into study values ('1.4', '{}')");
      await server.stop();
      await transaction.query('select 1');
    });
    await expect(broken).rejects.toThrow(/terminat|connection/i);
    await expect(database.query('select 1')).rejects.toThrow();
    await server.start();
    expect(await database.query('select study_instance_uid as uid from study')).toEqual([{ uid: '1.3' }]);
    await database.close();
  });

  test('that cannot be reached is named, without the password', async () => {
    const wrong = server.url.replace(/:\d+\//, ':1/');
    const error = (await openPostgres(wrong, createLog('silent')).catch(
      (failure: unknown) => failure,
    )) as Error;
    expect(error.message).toMatch(/^database 127\.0\.0\.1:1\/postgres: .*ECONNREFUSED/);
    expect(error.stack).not.toContain('not-to-be-logged');
  });
});
