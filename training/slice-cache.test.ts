import { spawnSync } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { lockFolder } from '../inference/folder-lock.ts';
import { prepare } from '../inference/prepare.ts';
import { normalise } from '../inference/preprocess.ts';
import { augment } from './augmentation.ts';
import { Batches, microBatchFor } from './batches.ts';
import { uniformStream } from './philox.ts';
import { normalPictures } from './pictures.ts';
import { addSlices, SliceCache, SliceCacheWriter, splitByPatient } from './slice-cache.ts';
import type { SourceSlice } from './slice-cache.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slices-'));
});
afterEach(() => rm(folder, { recursive: true }));

function slice(patient: string, grey: number, rows = 4, columns = 5): SourceSlice {
  return { pixels: new Uint8Array(rows * columns).fill(grey), rows, columns, patient, study: '1' };
}

test('slices come back as they were added, each content stored once', async () => {
  await addSlices(folder, [slice('a', 1), slice('a', 2, 3, 3), slice('b', 1)]);
  expect(await addSlices(folder, [slice('a', 1), slice('c', 3)])).toEqual({ added: 1, duplicates: 1 });
  const cache = await SliceCache.open(folder);
  expect(cache.slices).toHaveLength(4);
  const read = await Promise.all(cache.slices.map((entry) => cache.read(entry)));
  await cache.close();
  expect(read.map(({ pixels, rows }) => [pixels[0], pixels.length, rows])).toEqual([
    [1, 20, 4],
    [2, 9, 3],
    [1, 20, 4],
    [3, 20, 4],
  ]);
  expect((await stat(join(folder, 'slices.bin'))).size).toBe(20 + 9 + 20);
  expect(new Set(cache.slices.map(({ patient }) => patient)).size).toBe(3);
});

test('no patient is named, and none is on both sides of a split', async () => {
  const patients = Array.from({ length: 30 }, (_, i) => `Doe^Jane ${i}`);
  await addSlices(
    folder,
    patients.flatMap((patient, i) => [slice(patient, i), slice(patient, i + 100)]),
  );
  const cache = await SliceCache.open(folder);
  await cache.close();
  expect(JSON.stringify(cache.slices)).not.toContain('Doe');
  const { train, heldOut } = splitByPatient(cache.slices, 0.2, 3);
  const of = (slices: typeof train) => new Set(slices.map(({ patient }) => patient));
  expect([of(train).size, of(heldOut).size]).toEqual([24, 6]);
  expect(new Set([...of(train), ...of(heldOut)]).size).toBe(30);
  expect(of(splitByPatient(cache.slices, 0.2, 19).heldOut).size).toBe(19);
  expect(() => splitByPatient(cache.slices, 0.2, 30)).toThrow('30 patients; 30 must be held out');
});

test('damage is found', async () => {
  await addSlices(folder, [slice('a', 1), slice('b', 2)]);
  await truncate(join(folder, 'slices.bin'), 30);
  await expect(SliceCache.open(folder)).rejects.toThrow('ends before slice');
  await appendFile(join(folder, 'slices.bin'), new Uint8Array(10).fill(9));
  const cache = await SliceCache.open(folder);
  await expect(cache.read(cache.slices[1])).rejects.toThrow('is damaged');
  await cache.close();
  await expect(SliceCache.open(join(folder, 'absent'))).rejects.toThrow('is no slice cache');
  await expect(addSlices(folder, [{ ...slice('a', 1), rows: 2 }])).rejects.toThrow('cannot have 20 pixels');
});

test('bytes of a writer that was cut short are passed over', async () => {
  await addSlices(folder, [slice('a', 1)]);
  await appendFile(join(folder, 'slices.bin'), 'half a slice');
  await addSlices(folder, [slice('b', 2)]);
  const cache = await SliceCache.open(folder);
  expect((await cache.read(cache.slices[1])).pixels[0]).toBe(2);
  await cache.close();

  const index = join(folder, 'index.jsonl');
  const whole = await readFile(index, 'utf8');
  await appendFile(index, '{"offset":20,"rows"');
  const torn = await SliceCache.open(folder);
  await torn.close();
  expect(torn.slices).toEqual(cache.slices);
  await addSlices(folder, [slice('c', 3)]);
  const lines = (await readFile(index, 'utf8')).split('\n');
  expect([lines.length, lines.slice(0, 3).join('\n')]).toEqual([5, whole.trimEnd()]);
  await writeFile(index, lines.with(2, '{"offset":').join('\n'));
  await expect(SliceCache.open(folder)).rejects.toThrow('index.jsonl, line 3');
});

test('what is added group by group is read once, and a group that fails leaves nothing', async () => {
  const writer = await SliceCacheWriter.open(folder);
  expect(await writer.add([slice('a', 1)])).toEqual({ added: 1, duplicates: 0 });
  const failing = function* () {
    yield slice('b', 2);
    throw new Error('an archive that is away');
  };
  await expect(writer.add(failing())).rejects.toThrow('an archive that is away');
  expect(await writer.add([slice('a', 1), slice('b', 2)])).toEqual({ added: 1, duplicates: 1 });
  writer.close();
  const cache = await SliceCache.open(folder);
  expect(await Promise.all(cache.slices.map((entry) => cache.read(entry)))).toMatchObject([
    { pixels: slice('a', 1).pixels },
    { pixels: slice('b', 2).pixels },
  ]);
  await cache.close();
});

test('an older cache is refused', async () => {
  await writeFile(join(folder, 'index.json'), '{"version":1,"salt":"x","slices":[]}');
  for (const opened of [SliceCache.open(folder), addSlices(folder, [slice('a', 1)])]) {
    await expect(opened).rejects.toThrow('is a slice cache of an older form');
  }
});

test('one process adds at a time; one that was killed is in nobody’s way', async () => {
  const lock = await lockFolder(folder);
  await expect(addSlices(folder, [slice('a', 1)])).rejects.toThrow('another process has this folder open');
  lock.release();
  const adding = new URL('slice-cache.ts', import.meta.url).href;
  const script = `import { addSlices } from '${adding}';
    await addSlices('${folder}', (async function* () {
      console.log('adding');
      process.kill(process.pid, 'SIGKILL');
    })());`;
  const { signal, stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script]);
  expect([signal, String(stdout)]).toEqual(['SIGKILL', 'adding\n']);
  expect(await addSlices(folder, [slice('a', 1)])).toEqual({ added: 1, duplicates: 0 });
}, 120_000);

async function collect(slices: AsyncIterable<SourceSlice>): Promise<SourceSlice[]> {
  const all = [];
  for await (const one of slices) all.push(one);
  return all;
}

describe('pictures', () => {
  async function picture(path: string, grey: number): Promise<void> {
    await mkdir(join(folder, path, '..'), { recursive: true });
    const pixels = new Uint8Array(6 * 4 * 3).fill(grey);
    await sharp(pixels, { raw: { width: 6, height: 4, channels: 3 } }).toFile(join(folder, path));
  }

  test("all of a folder, or the normal ones of BMAD's layout", async () => {
    await picture('plain/p1_03.png', 10);
    await picture('plain/sub/p2_04.jpg', 20);
    const plain = await collect(normalPictures(join(folder, 'plain'), /^(p\d)_/));
    expect(plain.map(({ patient, rows, columns }) => [patient, rows, columns])).toEqual([
      ['p1', 4, 6],
      ['p2', 4, 6],
    ]);
    await expect(collect(normalPictures(join(folder, 'plain'), /^(q)/))).rejects.toThrow('p1_03.png');

    await picture('bmad/train/good/img/1.png', 30);
    await picture('bmad/test/Ungood/img/3.png', 50);
    const bmad = join(folder, 'bmad');
    const normal = await collect(normalPictures(bmad));
    expect(normal.map(({ patient, pixels }) => [patient, pixels[0]])).toEqual([['1', 30]]);
  });
});

test('a step has the same pictures whoever asks, and others than the step before', async () => {
  await addSlices(
    folder,
    Array.from({ length: 10 }, (_, i) => slice(`${i}`, 20 * i, 20, 20)),
  );
  const cache = await SliceCache.open(folder);
  await cache.close();
  const options = {
    cacheFolder: folder,
    slices: cache.slices,
    batchSize: 4,
    microBatch: 2,
    imageSize: 16,
    preprocessing: { mean: 0, std: 1 },
    seed: 1,
  };
  const through = new Batches(options);
  const steps = [];
  for (let step = 0; step < 5; step++) steps.push(await Promise.all(through.step(step)));
  await through.close();
  const resumed = new Batches({ ...options, threads: 2 });
  expect(await Promise.all(resumed.step(3))).toEqual(steps[3]);
  expect(steps[4]).not.toEqual(steps[3]);
  expect(steps[3].map((x) => x.length)).toEqual([2 * 3 * 256, 2 * 3 * 256]);
  await resumed.close();
  expect(() => new Batches({ ...options, batchSize: 12 })).toThrow('do not fill a batch of 12');
  expect(() => new Batches({ ...options, microBatch: 3 })).toThrow('micro-batches of 3');
});

test('a micro-batch divides its batch: the one that is given, or else the largest up to four', () => {
  expect([64, 6, 5, 4, 3, 1].map((batchSize) => microBatchFor(batchSize))).toEqual([4, 3, 1, 4, 3, 1]);
  expect(microBatchFor(10, 5)).toBe(5);
  expect(() => microBatchFor(6, 4)).toThrow('a batch of 6 does not consist of micro-batches of 4');
});

test('slices are placed and smoothed as the profile scores them, masks applied, before they are augmented', async () => {
  const [rows, columns, side] = [20, 30, 16];
  const pixels = Uint8Array.from({ length: rows * columns }, (_, i) => (i * 37) % 256);
  // The organ: a rectangle away from the middle.
  const mask = pixels.map((_, i) => Number(i % columns > 17 && Math.floor(i / columns) < 9));
  await addSlices(folder, [{ pixels, rows, columns, mask, patient: 'a', study: '1' }]);
  const cache = await SliceCache.open(folder);
  await cache.close();
  const preprocessing = {
    mean: 0.4,
    std: 0.2,
    placement: 'region' as const,
    bilateral: { diameter: 5, sigmaColor: 75, sigmaSpace: 75 },
  };
  const batches = new Batches({
    cacheFolder: folder,
    slices: cache.slices,
    batchSize: 1,
    microBatch: 1,
    imageSize: side,
    preprocessing,
    seed: 1,
  });
  const [x] = await Promise.all(batches.step(0));
  await batches.close();

  const scored = prepare({ pixels, rows, columns, mask }, preprocessing, side);
  const expected = new Float32Array(3 * side * side);
  normalise(augment(scored.pixels, side, uniformStream(1, 'augmentation', 0)), preprocessing, expected);
  expect(x).toEqual(expected);
});
