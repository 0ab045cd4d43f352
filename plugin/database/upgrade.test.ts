import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { pg_trgm } from '@electric-sql/pglite/contrib/pg_trgm';
import { worklist } from '../api/worklist.ts';
import { arrivalOf } from '../arrival/arrivals.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { NewerDataFolderError } from '../data-folder/layout.ts';
import { feedbackHistory } from '../feedback/feedback.ts';
import { JobQueue } from '../jobs/queue.ts';
import { createLog } from '../log.ts';
import { settingsSchema } from '../settings.ts';
import { InstanceStore } from '../store/instance-store.ts';
import { openEmbeddedDatabase } from './database.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-upgrade-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** The tables of version 0.1, with a row in most of them, by PostgreSQL's pg_dump. */
const released = readFileSync(new URL('schema-12.sql', import.meta.url), 'utf8');

test('a database of the first released layout is brought up to date, with all that is in it', async () => {
  const old = await PGlite.create(join(folder, 'database'), { extensions: { pg_trgm } });
  await old.exec(released);
  await old.close();

  const database = await openEmbeddedDatabase(join(folder, 'database'));
  try {
    const [{ version }] = await database.query<{ version: number }>('select version from schema_version');
    expect(version).toBeGreaterThanOrEqual(12);
    const store = new InstanceStore(database, join(folder, 'instances'));
    expect(await store.find('1.2.3')).toEqual([
      {
        sopInstanceUID: '1.2.3.1.1',
        seriesInstanceUID: '1.2.3.1',
        studyInstanceUID: '1.2.3',
        sopClassUID: '1.2.840.10008.5.1.4.1.1.4',
        transferSyntaxUID: '1.2.840.10008.1.2.1',
      },
    ]);
    const { rows } = await worklist(database, { study: '1.2.3' }, 'newest', 10, 0);
    expect(rows).toMatchObject([
      { state: 'scored', profile: 'brain-mri', score: { percentile: 95, flagged: true } },
    ]);
    expect(rows[0].results).toMatchObject([{ sopInstanceUID: '2.25.1' }]);
    const study = { archive: 'local', studyInstanceUID: '1.2.3' };
    expect(await feedbackHistory(database, study)).toMatchObject([
      { label: 'abnormal', reader: 'reader one' },
    ]);
    expect(await arrivalOf(database, 'local', '1.2.4')).toMatchObject({
      scoringID: '22222222-2222-4222-8222-222222222222',
    });

    const log = createLog('silent');
    const queue = await JobQueue.open({
      database,
      log,
      settings: settingsSchema.parse({}).jobs,
      worker: 'test',
    });
    const taken = Promise.withResolvers<string>();
    await queue.work((scoring) => {
      taken.resolve(scoring);
      return Promise.resolve();
    });
    const [waiting] = await database.query<{ id: string }>("select id from scoring where state = 'queued'");
    expect(await taken.promise).toBe(waiting.id);
    await queue.close(1000);
  } finally {
    await database.close();
  }
}, 300_000);

test('a database of newer software is refused, and left as it is', async () => {
  const database = await openEmbeddedDatabase(join(folder, 'database'));
  await database.query('update schema_version set version = 999');
  await database.close();
  for (let i = 0; i < 2; i++) {
    await expect(openEmbeddedDatabase(join(folder, 'database'))).rejects.toThrow(
      /schema version 999, this software knows \d+: install the newer software/,
    );
  }
}, 300_000);

test('a data folder of newer software is refused; one from before folders had a number is taken', () => {
  openDataFolder(folder);
  expect(readFileSync(join(folder, 'layout'), 'utf8')).toBe('1\n');
  rmSync(join(folder, 'layout'));
  openDataFolder(folder);
  for (const text of ['2\n', 'not a number']) {
    writeFileSync(join(folder, 'layout'), text);
    expect(() => openDataFolder(folder)).toThrow(NewerDataFolderError);
    expect(readFileSync(join(folder, 'layout'), 'utf8')).toBe(text);
  }
});
