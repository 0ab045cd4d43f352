import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { DicomPool } from '../../dicom/pool.ts';
import { audit, auditFolder } from '../access/audit-log.ts';
import { noteArrival, noteForgotten } from '../arrival/arrivals.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { fillIndex } from '../../fixtures/filled-index.ts';
import { settingsSchema } from '../settings.ts';
import { InstanceStore } from '../store/instance-store.ts';
import { applyRetention } from './retention.ts';

let folder: string;
let database: Database;
let store: InstanceStore;

const day = 24 * 3600_000;
const now = new Date();
const inDays = (days: number) => new Date(now.getTime() + days * day);
const retention = (keys: object) => settingsSchema.parse({ retention: keys }).retention;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-retention-'));
  database = await openEmbeddedDatabase(join(folder, 'database'));
  store = new InstanceStore(database, join(folder, 'instances'));
}, 300_000);

afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

async function addStudy(name: string): Promise<string> {
  const { studyInstanceUID, bytes } = await writeCRImage(join(folder, name), { name });
  const file = join(folder, `${name}.dcm`);
  writeFileSync(file, bytes);
  const pool = new DicomPool({ threads: 1, timeoutMs: 120_000 });
  await store.add(file, await pool.readHeader(file), { arrival: false });
  await pool.close();
  return studyInstanceUID;
}

test('studies go when nothing of them came for long enough, unless they wait; by default all stay', async () => {
  const [old, waiting] = [await addStudy('Old'), await addStudy('Waiting')];
  await noteArrival(database, 'local', waiting);
  await database.query(
    `insert into result_object (archive, sop_instance_uid, series_instance_uid, study_instance_uid, sop_class_uid, scoring_id, position)
     values ('local', '1.2', '1.3', $1, '1.4', gen_random_uuid(), 0)`,
    [old],
  );
  await database.query(
    `with kept as (
       insert into scoring (archive, study_instance_uid, requested_at, state) values ('local', $1, $2, 'scored') returning id)
     insert into anomaly_map select id, 0, '[1, 0, 0, 0, 1, 0]', '', '' from kept`,
    [old, now],
  );
  const pass = (keys: object, at: Date) => applyRetention(database, store, folder, retention(keys), at);
  expect(await pass({}, inDays(10_000))).toMatchObject({ studies: 0, scorings: 0 });
  expect(await pass({ studiesDays: 30 }, inDays(29))).toMatchObject({ studies: 0 });
  expect(await pass({ studiesDays: 30 }, inDays(31))).toMatchObject({ studies: 1 });
  expect(await store.find(old)).toEqual([]);
  expect(
    readdirSync(join(folder, 'instances', old), { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    ),
  ).toEqual([]);
  expect(await database.query('select 1 from result_object where study_instance_uid = $1', [old])).toEqual(
    [],
  );
  expect(await database.query('select 1 from anomaly_map')).toEqual([]);
  await database.query('delete from scoring');
  expect(await store.find(waiting)).toHaveLength(1);
});

test('scorings go when they have ended long ago; what waits, and what readers said, stays', async () => {
  for (const [study, state, finished] of [
    ['1', 'scored', now],
    ['2', 'failed', inDays(5)],
    ['3', 'queued', null],
  ] as const) {
    await database.query(
      `insert into scoring (archive, study_instance_uid, requested_at, state, finished_at) values ('pacs', $1, $2, $3, $4)`,
      [study, now, state, finished],
    );
  }
  await database.query(
    "insert into feedback (archive, study_instance_uid, label, reader) values ('pacs', '1', 'normal', 'x')",
  );
  const removed = await applyRetention(database, store, folder, retention({ scoringsDays: 3 }), inDays(4));
  expect(removed).toMatchObject({ scorings: 1 });
  const left = await database.query('select study_instance_uid as uid from scoring order by 1');
  expect(left).toEqual([{ uid: '2' }, { uid: '3' }]);
  expect(await database.query('select 1 from feedback')).toHaveLength(1);
});

test('one pass removes however many studies are due', async () => {
  await fillIndex(database, { studies: 201, instances: 1 });
  const due = retention({ studiesDays: 30 });
  expect(await applyRetention(database, store, folder, due, inDays(31), AbortSignal.abort())).toMatchObject({
    studies: 0,
  });
  await applyRetention(database, store, folder, due, inDays(31));
  expect(await database.query("select 1 from study where study_instance_uid like '1.2.%'")).toEqual([]);
});

test('a stored study whose scoring went is not taken for one that was never scored', async () => {
  await fillIndex(database, { studies: 2, instances: 1 });
  await database.query(
    `insert into scoring (archive, study_instance_uid, requested_at, state, finished_at)
     values ('local', '1.2.1', $1, 'not-scored', $1)`,
    [now],
  );
  await applyRetention(database, store, folder, retention({ scoringsDays: 3 }), inDays(4));
  expect(await noteForgotten(database, 'local', inDays(-1))).toEqual(['1.2.2']);
});

test('the embedded database gives the room of what was deleted to what comes', async () => {
  const fill = async () => {
    await database.query(
      `insert into event (type, data)
       select 'study', jsonb_build_object('text', repeat('x', 100)) from generate_series(1, 5000)`,
    );
    const [{ bytes }] = await database.query<{ bytes: number }>(
      "select pg_total_relation_size('event')::integer as bytes",
    );
    await database.query('delete from event');
    await database.vacuum!();
    return bytes;
  };
  const first = await fill();
  await fill();
  await fill();
  expect(await fill()).toBeLessThan(2 * first);
});

test('maps go when their scoring has ended long ago; the scores stay', async () => {
  for (const [study, finished] of [
    ['1', now],
    ['2', inDays(5)],
  ] as const) {
    await database.query(
      `with kept as (
         insert into scoring (archive, study_instance_uid, requested_at, state, finished_at)
         values ('maps', $1, $2, 'scored', $3) returning id)
       insert into anomaly_map select id, 0, '[1, 0, 0, 0, 1, 0]', '', '' from kept`,
      [study, now, finished],
    );
  }
  const pass = (keys: object) => applyRetention(database, store, folder, retention(keys), inDays(4));
  expect(await pass({})).toMatchObject({ maps: 0 });
  expect(await pass({ mapsDays: 3 })).toMatchObject({ maps: 1, scorings: 0 });
  const left = await database.query(
    `select study_instance_uid as uid, (select count(*)::int from anomaly_map where scoring_id = id) as maps
     from scoring where archive = 'maps' order by 1`,
  );
  expect(left).toEqual([
    { uid: '1', maps: 0 },
    { uid: '2', maps: 1 },
  ]);
});

test('the audit log goes day by day', async () => {
  mkdirSync(auditFolder(folder), { recursive: true });
  writeFileSync(join(auditFolder(folder), 'notes.txt'), 'not ours');
  for (const days of [0, 1, 2]) audit(folder, { who: 'x', from: null, what: 'y', outcome: 0 }, inDays(days));
  expect(await applyRetention(database, store, folder, retention({ auditDays: 5 }), inDays(6))).toMatchObject(
    { auditDays: 1 },
  );
  expect(readdirSync(auditFolder(folder))).toEqual([
    `${inDays(1).toISOString().slice(0, 10)}.jsonl`,
    `${inDays(2).toISOString().slice(0, 10)}.jsonl`,
    'notes.txt',
  ]);
});
