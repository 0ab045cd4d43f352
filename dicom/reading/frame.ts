import type { DicomJson } from '../dicom-json.ts';
import { attributeOf } from './attribute.ts';
import type { ByteSource } from './byte-source.ts';
import { swapped, type ByteRange, type PixelDataElement } from './data-set.ts';
import { DicomError } from './dicom-error.ts';
import { frameBits, type ImagePixel } from './image-pixel.ts';
import type { Instance } from './part10.ts';

/** A frame that would decode to more than this is refused. */
const maxFrameBytes = 512 * 1024 * 1024;

/**
 * The bytes of one frame as they are stored; native big endian ones in little endian.
 *
 * @param frame counted from 1
 * @throws DicomError `no-frame`, `truncated` where Pixel Data is shorter than its frames, `malformed` where the
 *   offset tables do not fit the fragments
 */
export function readStoredFrame(instance: Instance, image: ImagePixel, frame: number): Uint8Array {
  const { header, pixelData, source } = instance;
  if (!pixelData) throw new DicomError('no-frame', 'the instance has no pixel data', { tag: '7FE00010' });
  const frames = header.numberOfFrames;
  if (!Number.isInteger(frame) || frame < 1 || frame > frames)
    throw new DicomError('no-frame', `frame ${frame} of ${frames}`, { tag: '00280008' });
  if (frameBits(image, false) > 8 * maxFrameBytes)
    throw new DicomError('too-large', `a frame of more than ${maxFrameBytes} bytes`, { tag: '00280010' });
  const compressed = instance.syntax.mediaType !== 'application/octet-stream';
  if (!pixelData.encapsulated && !compressed) {
    const { firstBit, bits } = nativeFrame(pixelData, image, frame, frames);
    const range = {
      offset: pixelData.offset + Math.floor(firstBit / 8),
      length: Math.ceil((firstBit + bits) / 8) - Math.floor(firstBit / 8),
    };
    const bytes = instance.syntax.bigEndian
      ? littleEndian(source, pixelData, image, range)
      : source.read(range.offset, range.length).slice();
    return aligned(bytes, firstBit % 8, bits);
  }
  if (!pixelData.encapsulated)
    throw new DicomError(
      'malformed',
      'Pixel Data of a compressed transfer syntax is not encapsulated',
      pixelData,
    );
  return joined(source, encapsulatedFrame(source, pixelData, header.dataset, frame, frames));
}

function nativeFrame(
  pixelData: PixelDataElement,
  image: ImagePixel,
  frame: number,
  frames: number,
): { firstBit: number; bits: number } {
  const bits = frameBits(image, true);
  const needed = Math.ceil((bits * frames) / 8);
  if (pixelData.length < needed)
    throw new DicomError(
      'truncated',
      `Pixel Data holds ${pixelData.length} bytes, ${frames} frames need ${needed}`,
      pixelData,
    );
  return { firstBit: (frame - 1) * bits, bits };
}

/** `bits` bits from `first` on, the lowest of a byte first (PS3.5 8.1.1), moved to the start of a byte. */
function aligned(bytes: Uint8Array, first: number, bits: number): Uint8Array {
  if (first === 0 && bits % 8 === 0) return bytes;
  const moved = Uint8Array.from(
    { length: Math.ceil(bits / 8) },
    (_, i) => (bytes[i] >> first) | ((bytes[i + 1] ?? 0) << (8 - first)),
  );
  if (bits % 8 !== 0) moved[moved.length - 1] &= 2 ** (bits % 8) - 1;
  return moved;
}

/**
 * OW is swapped by words of 16 bits, or of 32 where samples have 32 (PS3.5 7.3 and 8.1.1): a frame of odd length
 * then starts within a word. OB is not swapped.
 */
function littleEndian(
  source: ByteSource,
  pixelData: PixelDataElement,
  image: ImagePixel,
  { offset, length }: ByteRange,
): Uint8Array {
  const word = pixelData.vr === 'OB' ? 1 : image.bitsAllocated < 32 ? 2 : image.bitsAllocated === 32 ? 4 : 8;
  const before = (offset - pixelData.offset) % word;
  const words = Math.ceil((before + length) / word) * word;
  if (offset - before + words > source.size)
    throw new DicomError('truncated', 'Pixel Data ends in a word', pixelData);
  return swapped(source.read(offset - before, words), word).subarray(before, before + length);
}

/** Where each frame begins among the fragments. */
interface FrameStarts {
  /** Index of each frame's first fragment, ascending from 0. */
  fragments: number[];
  /** Bytes of each frame without padding, where an extended offset table says so. */
  lengths?: number[];
}

/** Found once for an object, whose frames are asked for one by one. */
const frameStarts = new WeakMap<PixelDataElement, FrameStarts>();

/** The fragments of a frame (PS3.5 A.4; extended offset table: PS3.3 C.7.6.3.1.8). */
function encapsulatedFrame(
  source: ByteSource,
  pixelData: PixelDataElement,
  dataset: DicomJson,
  frame: number,
  frames: number,
): ByteRange[] {
  const { fragments } = pixelData.encapsulated!;
  let starts = frameStarts.get(pixelData);
  if (!starts) {
    starts = findFrameStarts(source, pixelData, dataset, frames);
    frameStarts.set(pixelData, starts);
  }
  const ranges = fragments.slice(starts.fragments[frame - 1], starts.fragments[frame]);
  if (!starts.lengths) return ranges;
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  // The length is without padding; that of several fragments may count their item headers.
  const padding = total - starts.lengths[frame - 1];
  const last = ranges.at(-1)!;
  if (padding > last.length || (padding < 0 && padding !== -8 * (ranges.length - 1))) throw wrongTable();
  return [...ranges.slice(0, -1), { ...last, length: last.length - Math.max(padding, 0) }];
}

function findFrameStarts(
  source: ByteSource,
  pixelData: PixelDataElement,
  dataset: DicomJson,
  frames: number,
): FrameStarts {
  const { fragments, basicOffsetTable } = pixelData.encapsulated!;
  const isWhole = (starts: readonly number[]) =>
    starts.length === frames &&
    starts[0] === 0 &&
    starts.every((start, i) => i === 0 || start > starts[i - 1]);
  if (frames === 1 && fragments.length > 0) return { fragments: [0] };
  const [offsets, lengths] = [extendedTable(dataset, '7FE00001'), extendedTable(dataset, '7FE00002')];
  if (offsets.length > 0) {
    const starts = offsets.map((offset) => fragmentAt(pixelData, offset));
    if (!isWhole(starts) || lengths.length !== frames) throw wrongTable();
    return { fragments: starts, lengths };
  }
  if (fragments.length === frames) return { fragments: fragments.map((_, i) => i) };
  const starts =
    basicOffsetTable.length > 0
      ? basicOffsetTable.map((offset) => fragmentAt(pixelData, offset))
      : fragments.flatMap((fragment, index) => (startsCodestream(source, fragment) ? [index] : []));
  if (isWhole(starts)) return { fragments: starts };
  throw new DicomError(
    'malformed',
    `${fragments.length} fragments cannot be told apart into ${frames} frames`,
    pixelData,
  );
}

const wrongTable = (): DicomError =>
  new DicomError('malformed', 'extended offset table does not fit the fragments', { tag: '7FE00001' });

function extendedTable(dataset: DicomJson, tag: string): number[] {
  const bytes = Buffer.from(attributeOf(dataset, tag)?.InlineBinary ?? '', 'base64');
  return Array.from({ length: Math.floor(bytes.length / 8) }, (_, i) => Number(bytes.readBigUInt64LE(8 * i)));
}

/** Index of the fragment whose item starts `offset` bytes after the first item; -1 where none does. */
function fragmentAt(pixelData: PixelDataElement, offset: number): number {
  const { fragments } = pixelData.encapsulated!;
  const wanted = (fragments.at(0)?.offset ?? 0) + offset;
  let low = 0;
  let high = fragments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (fragments[middle].offset < wanted) low = middle + 1;
    else high = middle;
  }
  return fragments.at(low)?.offset === wanted ? low : -1;
}

/** A JPEG or JPEG-LS (SOI and a marker), or a JPEG 2000 codestream (SOC, SIZ) starts here. */
function startsCodestream(source: ByteSource, { offset, length }: ByteRange): boolean {
  if (length < 4) return false;
  const [a, b, c, d] = source.read(offset, 4);
  return a === 0xff && ((b === 0xd8 && c === 0xff) || (b === 0x4f && c === 0xff && d === 0x51));
}

function joined(source: ByteSource, ranges: readonly ByteRange[]): Uint8Array {
  const bytes = new Uint8Array(ranges.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const { offset, length } of ranges) {
    bytes.set(source.read(offset, length), at);
    at += length;
  }
  return bytes;
}
