import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DicomPool } from '../../dicom/pool.ts';
import { MemorySource } from '../../dicom/reading/byte-source.ts';
import { readInstance } from '../../dicom/reading/part10.ts';
import { element, item, sequenceEnd, undefinedLength } from '../../fixtures/data-element.ts';
import { writeMultiframe } from '../../fixtures/dicom-series.ts';
import { encodeTransferSyntax, transferSyntaxes } from '../../fixtures/transfer-syntax.ts';
import { largestResidentMemory, resetLargestResidentMemory } from './resident-memory.ts';

/** How the pixels of a large object are stored, and how its frames are found. */
const forms = {
  native: { encapsulated: false, fragments: 0, table: undefined },
  'basic offset table': { encapsulated: true, fragments: 2, table: 'basic' },
  'extended offset table': { encapsulated: true, fragments: 1, table: 'extended' },
  'no table, a fragment a frame': { encapsulated: true, fragments: 1, table: undefined },
  'no table, two fragments a frame': { encapsulated: true, fragments: 2, table: undefined },
} as const;
type Form = (typeof forms)[keyof typeof forms];

/** Reading a large object frame by frame. */
export interface LargeObjectBench {
  form: string;
  gigabytes: number;
  frames: number;
  framesRead: number;
  framesPerSecond: number;
  /** Largest resident memory beyond that of the waiting threads, before the object was opened. */
  riseBytes: number;
}

const side = 1024;
/** Of a native frame, and of the fragments of an encapsulated one. */
const frameBytes = side * side;
/** What is not black, at the top of each frame: the rest of a native one is a hole in the file. */
const pictureBytes = 64 * side;
/** Frames that differ. */
const distinct = 5;

/**
 * Writes a multi-frame object of `gigabytes` in each form (sparse: behind the frames' streams lie holes), and reads
 * frames from all over it by `DicomPool`, comparing each with what was written.
 */
export async function benchLargeObject(gigabytes: number, framesRead: number): Promise<LargeObjectBench[]> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  const pool = new DicomPool({ threads: 2 });
  try {
    const small = await writeMultiframe(folder, { rows: side, columns: side, frames: distinct });
    const file = Uint8Array.from(small.bytes);
    const pictures = Array.from({ length: distinct }, (_, i) => {
      const start = file.length - (distinct - i) * frameBytes;
      file.fill(0, start + pictureBytes, start + frameBytes);
      return file.slice(start, start + frameBytes);
    });
    const streams = fragmentsOf(await encodeTransferSyntax(file, transferSyntaxes.jpegLosslessSV1));
    const frames = Math.floor((gigabytes * 1e9) / frameBytes);
    const results: LargeObjectBench[] = [];
    for (const [name, form] of Object.entries(forms)) {
      const path = join(folder, 'large.dcm');
      const first = join(folder, 'first.dcm');
      writeObject(first, form, distinct, pictures, streams);
      writeObject(path, form, frames, pictures, streams);
      // The threads and their decoders are the node's, not the object's.
      await Promise.all(pictures.map((_, i) => pool.readFrame(first, i + 1)));
      const idle = await resetLargestResidentMemory();
      const start = performance.now();
      for (let i = 0; i < framesRead; i++) {
        const frame = Math.floor((i * (frames - 1)) / Math.max(framesRead - 1, 1));
        const { bytes } = await pool.readFrame(path, frame + 1);
        if (!Buffer.from(bytes.buffer).equals(pictures[frame % distinct]))
          throw new Error(`${name}: frame ${frame + 1} is not what was written`);
      }
      const seconds = (performance.now() - start) / 1000;
      results.push({
        form: name,
        gigabytes,
        frames,
        framesRead,
        framesPerSecond: framesRead / seconds,
        riseBytes: (await largestResidentMemory()) - idle,
      });
    }
    return results;
  } finally {
    await pool.close();
    await rm(folder, { recursive: true });
  }
}

function fragmentsOf(file: Uint8Array): Uint8Array[] {
  const { fragments } = readInstance(new MemorySource(file)).pixelData!.encapsulated!;
  return fragments.map(({ offset, length }) => file.subarray(offset, offset + length));
}

/** An ultrasound of so many frames, which repeat in turn. */
function writeObject(path: string, form: Form, frames: number, native: Uint8Array[], streams: Uint8Array[]) {
  const file = openSync(path, 'w');
  let at = 0;
  const write = (bytes: Uint8Array, length = bytes.length): void => {
    writeSync(file, bytes, 0, bytes.length, at);
    at += length;
  };
  write(attributes(form, frames));
  if (!form.encapsulated) {
    write(element('7FE00010', 'OB', '', frames * frameBytes));
    for (let frame = 0; frame < frames; frame++)
      write(native[frame % distinct].subarray(0, pictureBytes), frameBytes);
  } else {
    const offsets = Uint32Array.from({ length: frames }, (_, i) => i * (frameBytes + 8 * form.fragments));
    write(element('7FE00010', 'OB', '', undefinedLength));
    write(item(form.table === 'basic' ? new Uint8Array(offsets.buffer) : new Uint8Array(0)));
    for (let frame = 0; frame < frames; frame++) {
      const stream = streams[frame % distinct];
      // Of even length; behind the stream's end stands padding.
      const part = form.fragments === 1 ? 0 : 2 * Math.floor(stream.length / 4);
      if (part > 0) write(item(stream.subarray(0, part)));
      const rest = frameBytes - part;
      write(item(stream.subarray(part), rest), 8 + rest);
    }
    write(sequenceEnd);
  }
  ftruncateSync(file, at);
  closeSync(file);
}

/** What stands before Pixel Data. */
function attributes(form: Form, frames: number): Uint8Array {
  const us = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
  const uid = form.encapsulated ? transferSyntaxes.jpegLosslessSV1 : '1.2.840.10008.1.2.1';
  const table = (values: (frame: number) => number) =>
    new Uint8Array(BigUint64Array.from({ length: frames }, (_, i) => BigInt(values(i))).buffer);
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    element('00020010', 'UI', uid.padEnd(2 * Math.ceil(uid.length / 2), '\0')),
    element('00080016', 'UI', '1.2.840.10008.5.1.4.1.1.3.1\0'),
    element('00080018', 'UI', '1.2.3\0'),
    element('0020000D', 'UI', '1.2\0'),
    element('0020000E', 'UI', '1.2.4\0'),
    element('00280002', 'US', us(1)),
    element('00280004', 'CS', 'MONOCHROME2 '),
    element('00280008', 'IS', String(frames).padEnd(6)),
    element('00280010', 'US', us(side)),
    element('00280011', 'US', us(side)),
    element('00280100', 'US', us(8)),
    element('00280101', 'US', us(8)),
    element('00280102', 'US', us(7)),
    element('00280103', 'US', us(0)),
    ...(form.table === 'extended'
      ? [
          element(
            '7FE00001',
            'OV',
            table((frame) => frame * (frameBytes + 8)),
          ),
          element(
            '7FE00002',
            'OV',
            table(() => frameBytes),
          ),
        ]
      : []),
  ]);
}
