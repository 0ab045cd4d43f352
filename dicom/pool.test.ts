import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { writeCTSeries, writeMultiframe, type WrittenInstance } from '../fixtures/dicom-series.ts';
import { describeWith } from '../fixtures/required-program.ts';
import { encodeTransferSyntax, transferSyntaxes } from '../fixtures/transfer-syntax.ts';
import { DicomPool } from './pool.ts';
import { pydicom, python } from './pydicom-reference.ts';

let folder: string;
let pool: DicomPool;
let ct: WrittenInstance;
let us: WrittenInstance;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-pool-'));
  pool = new DicomPool({ threads: 2 });
  [ct] = await writeCTSeries(join(folder, 'ct'), { slices: 1 });
  us = await writeMultiframe(join(folder, 'us'), { frames: 3 });
});

afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true });
});

let files = 0;

/** Writes a file that was not there before: two of one name and length are told apart by their times only. */
function file(bytes: Uint8Array, path = join(folder, `changed-${++files}.dcm`)): string {
  writeFileSync(path, bytes);
  return path;
}

test('a header tells the instance, and holds no pixels', async () => {
  const header = await pool.readHeader(us.path);
  expect(header).toMatchObject({
    transferSyntaxUID: '1.2.840.10008.1.2.1',
    sopClassUID: '1.2.840.10008.5.1.4.1.1.3.1',
    sopInstanceUID: us.sopInstanceUID,
    seriesInstanceUID: us.seriesInstanceUID,
    studyInstanceUID: us.studyInstanceUID,
    numberOfFrames: 3,
    hasPixelData: true,
  });
  expect(header.fileMeta['00020010']).toEqual({ vr: 'UI', Value: ['1.2.840.10008.1.2.1'] });
  expect(header.dataset['7FE00010']).toBeUndefined();
  expect(header.dataset['00020010']).toBeUndefined();
  expect(header.dataset['00280010']).toEqual({ vr: 'US', Value: [64] });
});

test('a slice has pixels through the window, and geometry where the object states one', async () => {
  const slice = await pool.readSlice(ct.path, 1);
  expect(slice).toMatchObject({ sopInstanceUID: ct.sopInstanceUID, frame: 1, rows: 64, columns: 80 });
  expect(slice.geometry).toMatchObject({
    imagePositionPatient: [-80, -64, 0],
    imageOrientationPatient: [1, 0, 0, 0, 1, 0],
    pixelSpacing: [2, 2],
  });
  // Window 40 / 400 by the formula of PS3.3 C.11.2.1.2.1, from the fixture's stored values.
  const expected = Uint8Array.from(ct.pixels, (stored) =>
    Math.round(255 * Math.min(Math.max((stored - 1024 - 39.5) / 399 + 0.5, 0), 1)),
  );
  expect(Buffer.from(slice.pixels).equals(expected)).toBe(true);
  expect((await pool.readSlice(us.path, 2)).geometry).toBeUndefined();
});

test("a window of the caller replaces the data set's own", async () => {
  const { pixels } = await pool.readSlice(ct.path, 1, { window: { center: 0, width: 1 } });
  expect(new Set(pixels)).toEqual(new Set([0, 255]));
});

test('frames, encoded frames and pictures agree about the pixels', async () => {
  const [frame, encoded, picture] = await Promise.all([
    pool.readFrame(us.path, 3),
    pool.readEncodedFrame(us.path, 3),
    pool.readPicture(us.path, 3),
  ]);
  const third = Buffer.from(us.pixels.buffer, us.pixels.byteOffset + 2 * 64 * 80, 64 * 80);
  expect(frame).toMatchObject({ rows: 64, columns: 80, samplesPerPixel: 1, bitsAllocated: 8 });
  expect(third.equals(frame.bytes)).toBe(true);
  expect(third.equals(encoded.bytes)).toBe(true);
  expect(picture).toMatchObject({ rows: 64, columns: 80, channels: 1 });
});

test('a file that was replaced is read anew', async () => {
  const single = new DicomPool({ threads: 1 });
  const path = file(ct.bytes);
  expect((await single.readSlice(path, 1)).sopInstanceUID).toBe(ct.sopInstanceUID);
  file(us.bytes, path);
  expect((await single.readSlice(path, 3)).sopInstanceUID).toBe(us.sopInstanceUID);
  await single.close();
});

describe('what is no whole Part 10 file is refused, and the pool still works', () => {
  afterEach(async () => {
    expect((await pool.readSlice(ct.path, 1)).pixels).toHaveLength(64 * 80);
  });

  test('cut anywhere', async () => {
    const compressed = await encodeTransferSyntax(ct.bytes, transferSyntaxes.jpeg2000Lossless);
    for (const bytes of [ct.bytes, compressed]) {
      for (let length = 0; length < bytes.length; length += 37 + Math.floor(bytes.length / 60)) {
        const reading = pool.readSlice(file(bytes.subarray(0, length)), 1);
        await expect(reading).rejects.toMatchObject({
          name: 'DicomError',
          reason: expect.stringMatching(/^(truncated|not-dicom|no-frame)$/) as string,
        });
      }
    }
  });

  test('garbage', async () => {
    for (const bytes of [Buffer.alloc(5000), Buffer.from('not DICOM at all'), Buffer.alloc(5000, 0xff)])
      await expect(pool.readHeader(file(bytes))).rejects.toMatchObject({ reason: 'not-dicom', offset: 0 });
    const prefixed = Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), Buffer.alloc(5000, 0xab)]);
    await expect(pool.readHeader(file(prefixed))).rejects.toMatchObject({ name: 'DicomError' });
  });

  test('a folder, and a path that is not there', async () => {
    await expect(pool.readHeader(folder)).rejects.toMatchObject({ reason: 'not-dicom' });
    await expect(pool.readHeader(join(folder, 'none.dcm'))).rejects.toMatchObject({ reason: 'worker' });
  });

  test.each([
    ['SOP Class UID', '00080016'],
    ['SOP Instance UID', '00080018'],
    ['Study Instance UID', '0020000D'],
    ['Series Instance UID', '0020000E'],
    ['Transfer Syntax UID', '00020010'],
  ])('without or with a malformed %s', async (_name, tag) => {
    const bytes = Buffer.from(ct.bytes);
    const words = Buffer.from(tag, 'hex').swap16();
    const at = bytes.indexOf(Buffer.concat([words, Buffer.from('UI')]), 132);
    bytes.write('1.02', at + 8);
    await expect(pool.readHeader(file(bytes))).rejects.toMatchObject({ reason: 'not-dicom', tag });
    bytes.writeUInt16LE(bytes.readUInt16LE(at + 2) + 0x4000, at + 2);
    const header = pool.readHeader(file(bytes));
    // How a data set is encoded can be found by its beginning.
    if (tag === '00020010') expect((await header).transferSyntaxUID).toBe('1.2.840.10008.1.2.1');
    else await expect(header).rejects.toMatchObject({ reason: 'not-dicom', tag });
  });

  test('a deflated data set that cannot be inflated', async () => {
    const explicit = Buffer.from(ct.bytes);
    const end = 144 + explicit.readUInt32LE(140);
    const syntax = explicit.indexOf('1.2.840.10008.1.2.1\0', 132);
    const deflatedUID = Buffer.from('1.2.840.10008.1.2.1.99');
    const meta = Buffer.concat([
      explicit.subarray(0, syntax),
      deflatedUID,
      explicit.subarray(syntax + 20, end),
    ]);
    meta.writeUInt16LE(deflatedUID.length, syntax - 2);
    const deflated = deflateRawSync(explicit.subarray(end));
    await expect(pool.readSlice(file(Buffer.concat([meta, deflated])), 1)).resolves.toMatchObject({
      rows: 64,
    });
    deflated.fill(0x55, 200, 260);
    await expect(pool.readHeader(file(Buffer.concat([meta, deflated])))).rejects.toMatchObject({
      name: 'DicomError',
    });
  });

  test('a transfer syntax without a decoder: the header reads, the frame does not', async () => {
    const bytes = Buffer.from(await encodeTransferSyntax(ct.bytes, transferSyntaxes.jpeg2000Lossless));
    bytes.write('1.2.840.10008.1.2.4.92', bytes.indexOf('1.2.840.10008.1.2.4.90', 132));
    const path = file(bytes);
    expect((await pool.readHeader(path)).hasPixelData).toBe(true);
    await expect(pool.readFrame(path, 1)).rejects.toMatchObject({ reason: 'unsupported', tag: '00020010' });
    expect((await pool.readEncodedFrame(path, 1)).mediaType).toBe('image/jpx');
  });
});

test('errors hold no value of a patient', async () => {
  const bytes = Buffer.from(ct.bytes);
  const name = bytes.indexOf('QFAE^');
  bytes[name - 2] = 0xff;
  bytes[name - 1] = 0xff;
  const error = await pool.readHeader(file(bytes)).catch((reason: unknown) => reason as Error);
  expect(error).toMatchObject({ reason: 'truncated', tag: '00100010', offset: name - 8 });
  expect((error as Error).message).not.toContain('QFAE');
});

test('a header costs no read of the pixels', async () => {
  // A sparse file of 3 GiB of native frames: reading them would take the memory or the time limit.
  const path = file(ct.bytes);
  const bytes = readFileSync(path);
  const pixelData = bytes.lastIndexOf(Buffer.from('e07f10004f57', 'hex'));
  const length = 3 * 2 ** 30;
  bytes.writeUInt32LE(length, pixelData + 8);
  writeFileSync(path, bytes.subarray(0, pixelData + 12));
  expect(spawnSync('truncate', ['-s', String(pixelData + 12 + length), path]).status).toBe(0);
  expect((await pool.readHeader(path)).hasPixelData).toBe(true);
  expect((await pool.readSlice(path, 1)).pixels).toHaveLength(64 * 80);
});

describeWith([python], 'pydicom', () => {
  test('a whole file becomes the JSON that pydicom makes', async () => {
    const { dataset } = await pool.readHeader(ct.path);
    const reference = pydicom(
      'd = pydicom.dcmread(input)\ndel d.PixelData\noutput = d.to_json_dict()',
      ct.path,
    );
    const nameless = Object.fromEntries(
      Object.entries(reference as object).filter(([tag]) => tag !== '00100010'),
    );
    expect(dataset).toMatchObject(nameless);
    expect(Object.keys(dataset)).toHaveLength(Object.keys(reference as object).length);
  });
});
