import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { archiveDouble } from '../../fixtures/archive-double.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import { enforceRules } from '../rules/rule-book.ts';
import { noteArrival, takeArrival } from './arrivals.ts';
import { CompleteStudies } from './complete-studies.ts';

let folder: string;
let database: Database;
const at = (seconds: number) => new Date(1.7e12 + 1000 * seconds);
const series = (modality: string, instances: number) => [
  { seriesInstanceUID: '1.9', instances, dataset: { '00080060': { vr: 'CS', Value: [modality] } } },
];
const studies = new Map([
  ['1.1', series('MR', 4)],
  ['1.2', series('CT', 2)],
]);
const pacs = archiveDouble('pacs', studies);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-complete-'));
  database = await openEmbeddedDatabase(folder);
});

afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

const rules = (text: string) =>
  enforceRules(database, 'rules.yaml', text, { archives: ['pacs'], sources: ['pacs'] });

test('without rules a study is complete after the quiet time, and the archive is not asked', async () => {
  const complete = new CompleteStudies(database, pacs.archive, 10, createLog('silent'));
  await noteArrival(database, 'pacs', '1.1', { at: at(0) });
  await noteArrival(database, 'elsewhere', '1.3', { at: at(0) });
  expect(await complete.at(at(9.9))).toEqual([]);
  expect(await complete.at(at(10))).toMatchObject([{ arrival: { studyInstanceUID: '1.1' }, priority: 0 }]);
  expect(pacs.asked).toBe(0);
});

test('rules decide when, and with which priority; what they need is asked once an arrival', async () => {
  const complete = new CompleteStudies(database, pacs.archive, 10, createLog('silent'));
  const outcome = await rules(`
rules:
  - name: MR of five slices
    study: { ModalitiesInStudy: MR }
    priority: 7
    complete: { quietSeconds: 5, instances: 5, waitSeconds: 100 }
  - name: the rest
    complete: { quietSeconds: 20 }
`);
  expect(outcome).toEqual({ changed: true });
  await noteArrival(database, 'pacs', '1.2', { at: at(0) });

  const uids = async (seconds: number) =>
    (await complete.at(at(seconds))).map(({ arrival, priority }) => [arrival.studyInstanceUID, priority]);
  expect(await uids(19)).toEqual([]);
  const { asked } = pacs;
  expect(await uids(20)).toEqual([['1.2', 0]]);
  expect(await uids(99)).toEqual([['1.2', 0]]);
  expect(pacs.asked).toBe(asked);
  expect(await uids(100)).toEqual([
    ['1.1', 7],
    ['1.2', 0],
  ]);

  // The fifth slice comes: the study is asked for again, and is complete after its own quiet time.
  studies.set('1.1', series('MR', 5));
  await noteArrival(database, 'pacs', '1.1', { at: at(30) });
  expect(await uids(34.9)).toEqual([['1.2', 0]]);
  expect(await uids(35)).toEqual([
    ['1.2', 0],
    ['1.1', 7],
  ]);
});

test('while the archive is away, the quiet time of the settings holds: the job asks it again', async () => {
  const complete = new CompleteStudies(database, pacs.archive, 10, createLog('silent'));
  pacs.away = true;
  const { asked } = pacs;
  const due = await complete.at(at(40));
  expect(due.map(({ arrival }) => arrival.studyInstanceUID)).toEqual(['1.2', '1.1']);
  expect(pacs.asked).toBe(asked + 1); // not once a study
  for (const { arrival } of due) await takeArrival(database, arrival);
  expect(await complete.at(at(50))).toEqual([]);
});
