import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { archiveDouble } from '../../fixtures/archive-double.ts';
import { noteArrival } from '../arrival/arrivals.ts';
import { DicomPool } from '../../dicom/pool.ts';
import { isSearchable } from '../archive/archive.ts';
import { localArchive } from '../archive/local-archive.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import { settingsSchema } from '../settings.ts';
import { InstanceStore } from '../store/instance-store.ts';
import { backfill } from './backfill.ts';
import { JobQueue } from './queue.ts';
import { rescore } from './rescore.ts';

const uids = Array.from({ length: 450 }, (_, i) => `1.2.${i + 1}`);
const { archive } = archiveDouble('pacs', new Map(uids.map((uid) => [uid, []])));
const options = { limit: 1000, priority: -10, dryRun: false };

let folder: string;
let database: Database;
let queue: JobQueue;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-backfill-'));
  database = await openEmbeddedDatabase(join(folder, 'database'));
  const settings = settingsSchema.parse({ data: folder });
  queue = await JobQueue.open({
    database,
    log: createLog('silent'),
    settings: settings.jobs,
    worker: 'test',
  });
}, 300_000);
afterAll(async () => {
  await queue.close(1000);
  await database.close();
  rmSync(folder, { recursive: true });
});

const waiting = async () =>
  (
    await database.query<{ uid: string }>(
      "select study_instance_uid as uid from scoring where state = 'queued' and priority = -10 order by 1",
    )
  ).map(({ uid }) => uid);

const asked = (limit: number, dryRun = false) => {
  if (!isSearchable(archive)) throw new Error('the double can be searched');
  return backfill(database, queue, archive, { ModalitiesInStudy: 'MR' }, { ...options, limit, dryRun });
};

test('backfill queues, at most as many as it may, what nobody asked for before', async () => {
  await noteArrival(database, 'pacs', '1.2.2');
  expect((await asked(3, true)).studies).toEqual(['1.2.1', '1.2.3', '1.2.4']);
  expect(await waiting()).toEqual([]);
  expect((await asked(3)).studies).toEqual(['1.2.1', '1.2.3', '1.2.4']);
  expect((await asked(2)).studies).toEqual(['1.2.5', '1.2.6']);
  expect(await waiting()).toHaveLength(5);
  expect(await asked(1000)).toMatchObject({ found: 450 });
  expect(await waiting()).toEqual(uids.filter((uid) => uid !== '1.2.2').sort());
  expect((await asked(1000)).studies).toEqual([]);
}, 300_000);

test('backfill searches the node’s own store, and takes no key that it does not know', async () => {
  for (const [uid, date] of [
    ['1.3.1', '20260101'],
    ['1.3.2', '20260102'],
  ]) {
    const attributes = { '0020000D': { vr: 'UI', Value: [uid] }, '00080020': { vr: 'DA', Value: [date] } };
    await database.query('insert into study values ($1, $2)', [uid, JSON.stringify(attributes)]);
  }
  const pool = new DicomPool({ threads: 1 });
  const store = new InstanceStore(database, join(folder, 'instances'));
  const local = localArchive({ database, store, pool, incoming: folder });
  try {
    const dry = { ...options, dryRun: true };
    expect(await backfill(database, queue, local, { StudyDate: '20260102-' }, dry)).toEqual({
      found: 1,
      studies: ['1.3.2'],
    });
    await expect(backfill(database, queue, local, { StudyDate: '2026*' }, dry)).rejects.toThrow(
      /StudyDate: not of/,
    );
    await expect(backfill(database, queue, local, { Rows: '64' }, dry)).rejects.toThrow(
      /cannot be searched by Rows/,
    );
    expect((await backfill(database, queue, local, { PatientID: '*' }, options)).studies).toEqual([
      '1.3.1',
      '1.3.2',
    ]);
  } finally {
    await pool.close();
  }
});

test('rescore queues what has come to its end, as the filter says, the latest first', async () => {
  const end = (uid: string, bundle: string, at: string) =>
    database.query(
      `update scoring set state = 'scored', bundle = $2, requested_at = $3 where study_instance_uid = $1`,
      [uid, bundle, at],
    );
  await end('1.2.10', 'a@000000000000', '2026-01-01T00:00:00Z');
  await end('1.2.11', 'a@000000000000', '2026-01-02T00:00:00Z');
  await end('1.2.12', 'b@000000000000', '2026-01-03T00:00:00Z');
  const dry = { ...options, dryRun: true };
  expect(await rescore(database, queue, {}, dry)).toEqual({
    found: 3,
    studies: ['1.2.12', '1.2.11', '1.2.10'],
  });
  expect((await rescore(database, queue, { archive: 'other' }, dry)).studies).toEqual([]);
  expect((await rescore(database, queue, { studies: ['1.2.10', '1.2.20'] }, dry)).studies).toEqual([
    '1.2.10',
  ]);

  const bundle = 'a@000000000000';
  expect(await rescore(database, queue, { bundle }, { ...options, limit: 1 })).toEqual({
    found: 2,
    studies: ['1.2.11'],
  });
  expect(await waiting()).toContain('1.2.11');
  // Its last scoring waits now.
  expect((await rescore(database, queue, { bundle }, dry)).studies).toEqual(['1.2.10']);
});
