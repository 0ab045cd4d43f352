import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DicomPool } from '../../dicom/pool.ts';
import { writeCRImage, writeCTSeries, type WrittenInstance } from '../../fixtures/dicom-series.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { storeInstances } from '../dicomweb/store.ts';
import { createLog } from '../log.ts';
import { removeDiscardedFiles } from './discarded-files.ts';
import { InstanceStore } from './instance-store.ts';
import { StoreRoom } from './room.ts';

test('files are named after UIDs, and after nothing else', () => {
  const store = new InstanceStore({} as Database, '/store');
  const uids = { studyInstanceUID: '1.2', seriesInstanceUID: '1.2.3', sopInstanceUID: '1.2.3.4' };
  expect(store.path(uids)).toBe('/store/1.2/1.2.3/1.2.3.4.dcm');
  for (const key of Object.keys(uids)) {
    for (const wrong of ['..', '../1', '1/2', '', '1\0']) {
      expect(() => store.path({ ...uids, [key]: wrong })).toThrow('not a UID');
    }
  }
});

describe('a store', () => {
  let folder: string;
  let database: Database;
  let pool: DicomPool;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-store-'));
    database = await openEmbeddedDatabase(join(folder, 'database'));
    pool = new DicomPool({ threads: 1, timeoutMs: 120_000 });
  }, 120_000);

  afterAll(async () => {
    await pool.close();
    await database.close();
    rmSync(folder, { recursive: true });
  });

  /** Files as they come in, with their headers. */
  const arrived = (images: WrittenInstance[]) =>
    Promise.all(
      images.map(async ({ path }) => {
        const file = join(folder, randomUUID());
        copyFileSync(path, file);
        return { file, header: await pool.readHeader(file), arrival: false };
      }),
    );

  test('keeps what is stored while the same is removed', async () => {
    const store = new InstanceStore(database, join(folder, 'instances'));
    const images = await writeCTSeries(join(folder, 'ct'), { slices: 12, rows: 16, columns: 16 });
    await Promise.all(store.addAll(await arrived(images)));
    const again = await arrived(images);
    const removing = store.remove(images.map(({ sopInstanceUID }) => sopInstanceUID));
    const [added] = await Promise.all([
      Promise.all(store.addAll(again)),
      removing,
      removeDiscardedFiles(database, store),
    ]);
    expect(new Set(added.map((one) => one.added))).toEqual(new Set(['stored']));
    const stored = await store.find(images[0].studyInstanceUID);
    expect(stored).toHaveLength(12);
    expect(stored.filter((instance) => !existsSync(store.path(instance)))).toEqual([]);
  });

  test('counts what is stored, and what is removed no longer', async () => {
    const instances = join(folder, 'counted');
    mkdirSync(instances);
    const room = new StoreRoom(instances, { storeBytes: 100_000, freeBytes: 0 });
    const store = new InstanceStore(database, instances, room);
    const image = await writeCRImage(join(folder, 'cr'), { name: 'Counted' });
    const context = { store, pool, room, incoming: folder, log: createLog('silent') };
    const limits = { instanceBytes: 50_000, requestBytes: 50_000, parts: 1 };
    const send = async (bytes: Uint8Array) =>
      (await storeInstances({ ...context, limits }, 'application/dicom', Readable.from([bytes]), '')).status;
    for (const [bytes, status, used] of [
      [image.bytes, 200, image.bytes.length],
      [image.bytes, 200, image.bytes.length],
      [image.bytes.subarray(0, 200), 400, image.bytes.length],
    ] as const) {
      expect(await send(bytes)).toBe(status);
      expect(100_000 - (await room.left())).toBe(used);
    }
    await store.remove([image.sopInstanceUID]);
    expect(await room.left()).toBe(100_000);
  });
});
