import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { InstanceHeader } from '../../dicom/pool.ts';
import { ShownSeries } from './shown-series.ts';

let work: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'qfae-shown-'));
});
afterEach(() => {
  rmSync(work, { recursive: true });
});

const pool = {
  readHeader: (path: string) => Promise.resolve({ sopInstanceUID: basename(path) } as InstanceHeader),
};
/** An archive whose instances hold their UID, and how often each of its series was fetched. */
const archiveOf = (held: Record<string, string[]>) => ({
  name: 'pacs',
  fetched: [] as string[],
  retrieve(_study: string, series: string | undefined, folder: string) {
    this.fetched.push(series!);
    const files = held[series!].map((uid) => join(folder, uid));
    for (const file of files) writeFileSync(file, basename(file));
    return Promise.resolve(files);
  },
});
/** What stands in the file, after others had their turn. */
const read = async (path: string) => {
  for (let turn = 0; turn < 20; turn++) await setImmediate();
  return { text: readFileSync(path, 'utf8') };
};

test('a file stays while it is read, however many other series are looked at', async () => {
  const held = Object.fromEntries(['1', '2', '3', '4', '5', '6'].map((n) => [n, [`1.${n}.1`, `1.${n}.2`]]));
  const shown = new ShownSeries(pool, work, { bytes: 1, ms: 60_000 });
  const archive = archiveOf(held);
  await Promise.all(
    Object.entries(held).map(async ([series, uids]) => {
      for (let turn = 0; turn < 10; turn++) {
        const uid = uids[turn % 2];
        expect(await shown.read(archive, '1', series, uid, read)).toEqual({ text: uid });
      }
    }),
  );
  expect(readdirSync(work)).toHaveLength(1);
});

test('what fits is fetched once, and again where an instance has come since', async () => {
  const held = { '1': ['1.1'], '2': ['2.1'] };
  const archive = archiveOf(held);
  const shown = new ShownSeries(pool, work);
  for (const uid of ['1.1', '2.1', '1.1'])
    expect(await shown.read(archive, '1', uid[0], uid, read)).toEqual({ text: uid });
  expect(archive.fetched).toEqual(['1', '2']);
  held['1'].push('1.2');
  expect(await shown.read(archive, '1', '1', '1.2', read)).toEqual({ text: '1.2' });
  expect(await shown.read(archive, '1', '1', '1.3', read)).toBeUndefined();
  expect(archive.fetched).toEqual(['1', '2', '1', '1']);
  while (readdirSync(work).length > 2) await setImmediate();
});

test('nothing stays of what nobody looks at, nor of what could not be fetched', async () => {
  const shown = new ShownSeries(pool, work, { bytes: 2 ** 20, ms: 1 });
  await shown.read(archiveOf({ '1': ['1.1'] }), '1', '1', '1.1', read);
  while (readdirSync(work).length > 0) await setImmediate();
  const gone = { name: 'pacs', retrieve: () => Promise.reject(new Error('no answer')) };
  await expect(shown.read(gone, '1', '1', '1.1', read)).rejects.toThrow('no answer');
  expect(existsSync(work) && readdirSync(work)).toEqual([]);
});
