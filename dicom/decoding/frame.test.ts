import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  writeCRImage,
  writeCTSeries,
  writeMultiframe,
  type WrittenInstance,
} from '../../fixtures/dicom-series.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { encodeTransferSyntax, transferSyntaxes } from '../../fixtures/transfer-syntax.ts';
import { pydicom, python } from '../pydicom-reference.ts';
import { FileSource } from '../reading/byte-source.ts';
import { readInstance } from '../reading/part10.ts';
import { decodeFrame, encodedFrame, type DecodedFrame } from './frame.ts';

let folder: string;
let ct: WrittenInstance;
let signed: WrittenInstance;
let cr: WrittenInstance;
let us: WrittenInstance;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-decoding-'));
  [ct] = await writeCTSeries(join(folder, 'ct'), { slices: 1 });
  [signed] = await writeCTSeries(join(folder, 'signed'), { slices: 1, signed: true });
  cr = await writeCRImage(join(folder, 'cr'));
  us = await writeMultiframe(join(folder, 'us'), { frames: 3 });
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function decoded(path: string, frame = 1): Promise<DecodedFrame> {
  using file = new FileSource(path);
  return await decodeFrame(readInstance(file), frame);
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program}: ${stderr}`);
}

/** The stored values that a fixture was written from, as little-endian bytes of one frame. */
function source({ pixels }: WrittenInstance, frame = 1, frames = 1): Buffer {
  const length = pixels.byteLength / frames;
  return Buffer.from(pixels.buffer, pixels.byteOffset + (frame - 1) * length, length);
}

const samples = ({ bytes, bitsAllocated }: DecodedFrame): Int16Array | Uint8Array =>
  bitsAllocated === 8 ? bytes : new Int16Array(bytes.slice().buffer);

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]));
  return largest;
}

describeWith(['dcmconv', 'dcmcrle', 'dcmcjpeg', 'dcmcjpls'], 'files that DCMTK encoded', () => {
  test.each([
    ['implicit little endian', 'dcmconv', ['+ti']],
    ['big endian', 'dcmconv', ['+tb']],
    ['deflated', 'dcmconv', ['+td']],
    ['RLE', 'dcmcrle', []],
    ['JPEG lossless, process 14', 'dcmcjpeg', ['+el', '+sv', '4']],
    ['JPEG lossless SV1', 'dcmcjpeg', ['+e1']],
    ['JPEG-LS lossless', 'dcmcjpls', ['+el']],
  ])('%s is exact in 8, 12 and 16 bits and in every frame', async (_name, program, options) => {
    for (const [written, frames] of [
      [ct, 1],
      [signed, 1],
      [cr, 1],
      [us, 3],
    ] as const) {
      const path = join(folder, 'encoded.dcm');
      run(program, [...options, written.path, path]);
      for (let frame = 1; frame <= frames; frame++) {
        const { bytes } = await decoded(path, frame);
        expect(Buffer.from(bytes).equals(source(written, frame, frames))).toBe(true);
      }
    }
  });

  test.each([
    ['JPEG baseline', 'dcmcjpeg', ['+eb'], 'dcmdjpeg', () => us, 3],
    ['JPEG extended, 12 bits', 'dcmcjpeg', ['+ee'], 'dcmdjpeg', () => cr, 1],
    ['JPEG-LS near lossless', 'dcmcjpls', ['+en', '+md', '3'], 'dcmdjpls', () => cr, 1],
  ] as const)('%s is what DCMTK decodes', async (_name, encoder, options, decoder, fixture, frames) => {
    const path = join(folder, 'lossy.dcm');
    const native = join(folder, 'native.dcm');
    run(encoder, [...options, fixture().path, path]);
    run(decoder, [path, native]);
    for (let frame = 1; frame <= frames; frame++) {
      const [ours, theirs] = [samples(await decoded(path, frame)), samples(await decoded(native, frame))];
      // Both follow the IDCT of the same library lineage; JPEG-LS leaves no freedom at all.
      expect(largestDifference(ours, theirs)).toBeLessThanOrEqual(encoder === 'dcmcjpls' ? 0 : 1);
      expect(new Set(ours).size).toBeGreaterThan(10);
    }
  });
});

describe('JPEG 2000', () => {
  test.each([
    ['JPEG 2000', transferSyntaxes.jpeg2000Lossless],
    ['HTJ2K', transferSyntaxes.htj2kLossless],
  ])('%s lossless is exact in 8, 12 and 16 bits and in every frame', async (_name, syntax) => {
    for (const [written, frames] of [
      [ct, 1],
      [signed, 1],
      [us, 3],
    ] as const) {
      const path = join(folder, 'j2k.dcm');
      writeFileSync(path, await encodeTransferSyntax(written.bytes, syntax));
      for (let frame = 1; frame <= frames; frame++) {
        const { bytes } = await decoded(path, frame);
        expect(Buffer.from(bytes).equals(source(written, frame, frames))).toBe(true);
      }
    }
  });

  describeWith([python], 'pydicom', () => {
    test.each([transferSyntaxes.jpeg2000Lossless, transferSyntaxes.jpeg2000])(
      '%s is what pydicom decodes',
      async (syntax) => {
        const path = join(folder, 'j2k.dcm');
        writeFileSync(path, await encodeTransferSyntax(cr.bytes, syntax));
        const reference = pydicom('output = pydicom.dcmread(input).pixel_array.ravel().tolist()', path);
        expect(largestDifference(samples(await decoded(path)), reference as number[])).toBeLessThanOrEqual(1);
      },
    );
  });
});

describeWith(['dcmcjpeg'], 'encoded frames', () => {
  test('come as they are stored, with their media type', async () => {
    const path = join(folder, 'stored.dcm');
    run('dcmcjpeg', ['+e1', us.path, path]);
    using file = new FileSource(path);
    const instance = readInstance(file);
    const frames = [1, 2, 3].map((frame) => encodedFrame(instance, frame));
    for (const { bytes, mediaType, transferSyntaxUID } of frames) {
      expect([mediaType, transferSyntaxUID]).toEqual(['image/jpeg', '1.2.840.10008.1.2.4.70']);
      expect([...bytes.subarray(0, 2)]).toEqual([0xff, 0xd8]);
    }
    expect(Buffer.from(frames[0].bytes).equals(frames[2].bytes)).toBe(false);
    await expect(decodeFrame(instance, 4)).rejects.toMatchObject({ reason: 'no-frame' });
  });

  test('are explicit little endian where they are native', () => {
    using file = new FileSource(ct.path);
    const { bytes, mediaType, transferSyntaxUID } = encodedFrame(readInstance(file), 1);
    expect([mediaType, transferSyntaxUID]).toEqual(['application/octet-stream', '1.2.840.10008.1.2.1']);
    expect(Buffer.from(bytes).equals(source(ct))).toBe(true);
  });
});

/** Cuts the only fragment of an encapsulated file to `length` bytes, as a broken transfer leaves it. */
function withFragmentCut(path: string, length: number): string {
  using file = new FileSource(path);
  const { pixelData } = readInstance(file);
  const [fragment] = pixelData!.encapsulated!.fragments;
  const bytes = Buffer.from(file.read(0, file.size));
  const head = Buffer.from(bytes.subarray(0, fragment.offset + length));
  head.writeUInt32LE(length, fragment.offset - 4);
  const cut = join(folder, 'cut.dcm');
  writeFileSync(cut, Buffer.concat([head, Buffer.from('feffdde000000000', 'hex')]));
  return cut;
}

describe('damaged frames', () => {
  test('few bytes that claim to be a huge image are refused before memory is taken for them', async () => {
    const bytes = Buffer.from(await encodeTransferSyntax(ct.bytes, transferSyntaxes.jpegLS));
    const start = bytes.indexOf('fff7', 132, 'hex');
    bytes.writeUInt16BE(16384, start + 5);
    bytes.writeUInt16BE(16384, start + 7);
    for (const tag of ['280010005553', '280011005553'])
      bytes.writeUInt16LE(16384, bytes.indexOf(tag, 132, 'hex') + 8);
    const path = join(folder, 'bomb.dcm');
    writeFileSync(path, bytes);
    await expect(decoded(path)).rejects.toMatchObject({ reason: 'too-large', tag: '7FE00010' });
  });

  const syntaxes = Object.entries({
    ...transferSyntaxes,
    implicitVRLittleEndian: undefined,
    explicitVRLittleEndian: undefined,
    jpegBaseline: undefined,
  }).filter((entry): entry is [string, string] => entry[1] !== undefined);

  test.each(syntaxes)('%s that ends early is refused, the next frame decodes', async (name, syntax) => {
    const path = join(folder, `${name}.dcm`);
    writeFileSync(path, await encodeTransferSyntax(cr.bytes, syntax));
    const whole = await decoded(path);
    using file = new FileSource(path);
    const { length } = readInstance(file).pixelData!.encapsulated!.fragments[0];
    for (const share of [0.05, 0.5, 0.95]) {
      const cut = withFragmentCut(path, 2 * Math.floor((length * share) / 2));
      await expect(decoded(cut)).rejects.toMatchObject({ name: 'DicomError', tag: '7FE00010' });
      expect(Buffer.from((await decoded(path)).bytes).equals(whole.bytes)).toBe(true);
    }
  });

  test('a stream of another size than Rows and Columns say is refused', async () => {
    for (const syntax of [
      transferSyntaxes.rle,
      transferSyntaxes.jpegLosslessSV1,
      transferSyntaxes.jpeg2000,
    ]) {
      const bytes = Buffer.from(await encodeTransferSyntax(cr.bytes, syntax));
      const rows = bytes.indexOf(Buffer.from('28001000555302004000', 'hex'));
      bytes.writeUInt16LE(63, rows + 8);
      const path = join(folder, 'rows.dcm');
      writeFileSync(path, bytes);
      await expect(decoded(path)).rejects.toMatchObject({ reason: 'codec' });
    }
  });

  test('bytes that make the decoder trap leave the next frame unharmed', async () => {
    const whole = join(folder, 'whole.dcm');
    writeFileSync(whole, await encodeTransferSyntax(cr.bytes, transferSyntaxes.jpegLS));
    const reference = await decoded(whole);
    using file = new FileSource(whole);
    const [{ offset, length }] = readInstance(file).pixelData!.encapsulated!.fragments;
    const damaged = Buffer.from(file.read(0, file.size));
    damaged.fill(0x55, offset + length / 2, offset + length / 2 + 32);
    const path = join(folder, 'trap.dcm');
    writeFileSync(path, damaged);
    // `unreachable` is the WebAssembly.RuntimeError's own message.
    await expect(decoded(path)).rejects.toThrow('the jpeg-ls decoder failed: unreachable at (7FE0,0010)');
    expect(Buffer.from((await decoded(whole)).bytes).equals(reference.bytes)).toBe(true);
  });
});
