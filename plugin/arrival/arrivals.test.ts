import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { fillIndex } from '../../fixtures/filled-index.ts';
import { arrivalOf, arrivals, noteArrival, noteForgotten, takeArrival } from './arrivals.ts';

let folder: string;
let database: Database;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-arrivals-'));
  database = await openEmbeddedDatabase(join(folder, 'database'));
});

afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));

test('a study keeps its first time, its last time, its sender and how much came', async () => {
  await noteArrival(database, 'local', '1.2.3', { at: at(5), sourceAETitle: 'CT1' });
  const first = await arrivalOf(database, 'local', '1.2.3');
  await noteArrival(database, 'local', '1.2.3', { at: at(9), instances: 4 });
  await noteArrival(database, 'local', '1.2.3', { at: at(7) });
  expect(await arrivals(database)).toEqual([
    {
      archive: 'local',
      studyInstanceUID: '1.2.3',
      firstSeenAt: at(5),
      changedAt: at(9),
      instances: 6,
      sourceAETitle: 'CT1',
      // The same from its first instance on.
      scoringID: first!.scoringID,
    },
  ]);
});

test('a study is not taken if more came', async () => {
  const [seen] = await arrivals(database);
  await noteArrival(database, 'local', '1.2.3', { at: at(20) });
  expect(await takeArrival(database, seen)).toBe(false);
  expect(await takeArrival(database, (await arrivalOf(database, 'local', '1.2.3'))!)).toBe(true);
  expect(await arrivals(database)).toEqual([]);
});

test('a stored study that neither waits nor has a scoring waits again; no other does', async () => {
  await fillIndex(database, { studies: 5, instances: 2 });
  await database.query("update study set stored_at = '2020-01-01' where study_instance_uid = '1.2.1'");
  await noteArrival(database, 'local', '1.2.2');
  await database.query(
    `insert into scoring (archive, study_instance_uid, requested_at, state)
     values ('local', '1.2.3', now(), 'not-scored')`,
  );
  await database.query(
    `insert into result_object (archive, sop_instance_uid, series_instance_uid, study_instance_uid,
       sop_class_uid, scoring_id, position)
     select 'pacs', sop_instance_uid, '', '', '', gen_random_uuid(), 0 from instance
     where study_instance_uid = '1.2.4'`,
  );
  expect(await noteForgotten(database, 'local', at(0))).toEqual(['1.2.5']);
  expect((await arrivals(database)).map(({ studyInstanceUID }) => studyInstanceUID)).toEqual([
    '1.2.2',
    '1.2.5',
  ]);
  expect(await noteForgotten(database, 'local', at(0))).toEqual([]);
});
