import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DicomPool } from '../../dicom/pool.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { fillIndex } from '../../fixtures/filled-index.ts';
import { InstanceStore } from '../store/instance-store.ts';
import { parseQuery } from './query.ts';
import { search } from './search.ts';

let folder: string;
let database: Database;
const pool = new DicomPool({ threads: 1 });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-search-'));
  database = await openEmbeddedDatabase(folder);
  await fillIndex(database, { studies: 3000, instances: 1 });
}, 300_000);

afterAll(async () => {
  await pool.close();
  await database.close();
  rmSync(folder, { recursive: true });
});

/** Finds studies; returns their UIDs, and how PostgreSQL looked for them. */
async function find(parameters: string): Promise<{ uids: unknown[]; plan: string }> {
  let plan = '';
  const explaining: Database = {
    ...database,
    async query(sql, values) {
      plan += JSON.stringify(await database.query(`explain ${sql}`, values));
      return database.query(sql, values);
    },
  };
  const context = { database: explaining, store: new InstanceStore(database, folder), pool };
  const query = parseQuery('study', new URLSearchParams(parameters), {});
  const uids: unknown[] = [];
  for await (const study of search(context, query, '')) uids.push(study['0020000D'].Value![0]);
  return { uids, plan };
}

test.each([
  ['PatientID=P42', 'study_00100020', 1],
  ['AccessionNumber=A42', 'study_00080050', 1],
  ['StudyDate=20000103', 'study_00080020', 1],
  ['StudyDate=20000103-20000105', 'study_00080020', 3],
  ['PatientID=P299*', 'study_00100020', 11],
  ['ModalitiesInStudy=PT', 'series_modality', 3],
  ['PatientName=sample^42', 'study_name', 1],
  ['PatientName=*^299?', 'study_name', 10],
  ['PatientName=2999&fuzzymatching=true', 'study_name', 1],
])('%s is found by the index %s', async (parameters, index, found) => {
  const { uids, plan } = await find(parameters);
  expect(plan).toMatch(new RegExp(`Index (Only )?Scan (on|using) ${index}\\b`));
  expect(plan).not.toContain('Seq Scan');
  expect(uids).toHaveLength(found);
});
