import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ResultObject } from '../../dicom/result.ts';
import { PartlyStoredError, type Destination, type InstanceReference } from '../archive/archive.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import type { StoredObject } from '../scoring/result-objects.ts';
import { deliver } from './deliver.ts';
import { resultObjectsOnStudy, type Scoring } from './scorings.ts';

let folder: string;
let database: Database;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-deliver-'));
  database = await openEmbeddedDatabase(join(folder, 'database'));
});

afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

const study = '1.2.3';
const reference = (uid: string) => ({
  sopInstanceUID: uid,
  seriesInstanceUID: '1.2.3.0',
  sopClassUID: '1.2.9',
});

const result = (...uids: string[]): StoredObject[] =>
  uids.map((uid) => {
    const file = join(folder, uid);
    writeFileSync(file, uid);
    return { ...reference(uid), studyInstanceUID: study, file };
  });

/** An archive that remembers what it was sent; the objects of `refused` it takes only the second time. */
function archiveDouble(name: string, manners: { answers: boolean; deletes: boolean; refused?: string[] }) {
  const held: InstanceReference[] = [];
  const sent: string[][] = [];
  const refused = new Set(manners.refused);
  const destination: Destination = {
    name,
    instances: () => Promise.resolve(manners.answers ? [...held] : undefined),
    store(objects) {
      sent.push(objects.map(({ sopInstanceUID }) => sopInstanceUID));
      const taken = objects.filter(({ sopInstanceUID }) => !refused.delete(sopInstanceUID));
      held.push(...taken);
      return taken.length === objects.length
        ? Promise.resolve()
        : Promise.reject(new PartlyStoredError('disk full', taken));
    },
    remove(_study, objects) {
      if (!manners.deletes) return Promise.resolve(false);
      const gone = new Set(objects.map(({ sopInstanceUID }) => sopInstanceUID));
      held.splice(0, held.length, ...held.filter(({ sopInstanceUID }) => !gone.has(sopInstanceUID)));
      return Promise.resolve(true);
    },
    close: () => Promise.resolve(),
  };
  const uids = () => held.map(({ sopInstanceUID }) => sopInstanceUID).sort();
  return { destination, sent, uids };
}

const rejected: string[][] = [];

function send(destination: Destination, objects: StoredObject[]): Promise<void> {
  return deliver({
    database,
    log: createLog('silent'),
    scoring: { id: crypto.randomUUID(), archive: 'source', studyInstanceUID: study } as Scoring,
    destination,
    objects,
    enter: () => Promise.resolve(),
    rejectionNote(obsolete): ResultObject {
      const uids = obsolete.map(({ sopInstanceUID }) => sopInstanceUID).sort();
      rejected.push(uids);
      return { ...reference(`9.${uids.join('.')}`), studyInstanceUID: study, bytes: new Uint8Array() };
    },
  });
}

test.each([true, false])(
  'of a partial failure, only what failed is sent again (query: %s)',
  async (answers) => {
    const archive = archiveDouble(`partly-${answers}`, { answers, deletes: true, refused: ['1.2'] });
    await expect(send(archive.destination, result('1.1', '1.2', '1.3'))).rejects.toThrow('disk full');
    await send(archive.destination, result('1.1', '1.2', '1.3'));
    await send(archive.destination, result('1.1', '1.2', '1.3'));
    expect(archive.sent).toEqual([['1.1', '1.2', '1.3'], ['1.2']]);
  },
);

test('what an archive says it stored, and a query does not find, is a failure', async () => {
  const archive = archiveDouble('forgetful', { answers: true, deletes: true });
  archive.destination.store = () => Promise.resolve();
  await expect(send(archive.destination, result('1.1'))).rejects.toThrow(/not found by a query, first 1\.1/);
});

test('an archive that deletes holds the newest result only', async () => {
  const archive = archiveDouble('deleting', { answers: true, deletes: true });
  await send(archive.destination, result('1.1', '1.2'));
  await send(archive.destination, result('2.1'));
  expect(archive.uids()).toEqual(['2.1']);
});

test('one that does not gets a note that rejects each old object once', async () => {
  rejected.length = 0;
  const archive = archiveDouble('keeping', { answers: true, deletes: false });
  await send(archive.destination, result('1.1', '1.2'));
  await send(archive.destination, result('2.1'));
  await send(archive.destination, result('3.1'));
  await send(archive.destination, result('3.1'));
  expect(rejected).toEqual([['1.1', '1.2'], ['2.1']]);
  expect(archive.uids()).toEqual(['1.1', '1.2', '2.1', '3.1', '9.1.1.1.2', '9.2.1']);
  const current = await resultObjectsOnStudy(database, 'keeping', study);
  expect(current.map(({ sopInstanceUID }) => sopInstanceUID)).toEqual(['3.1']);
});
