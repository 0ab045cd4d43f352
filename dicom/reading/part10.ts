import { inflateRawSync } from 'node:zlib';
import type { DicomJson } from '../dicom-json.ts';
import { isUID } from '../uid.ts';
import { numberOf, stringOf } from './attribute.ts';
import { MemorySource, type ByteSource } from './byte-source.ts';
import { ascii } from './character-set.ts';
import { readDataSet, swapped, type BulkData, type Encoding, type PixelDataElement } from './data-set.ts';
import { DicomError } from './dicom-error.ts';
import { frameBits } from './image-pixel.ts';
import {
  explicitBigEndian,
  explicitLittleEndian,
  implicitLittleEndian,
  transferSyntax,
  type TransferSyntax,
} from './transfer-syntax.ts';
import { valueRepresentation } from './value-representation.ts';

/** What an instance says about itself: everything but bulk data. */
export interface InstanceHeader {
  /** Found by how the data set begins where `fileMeta` has none. */
  transferSyntaxUID: string;
  sopClassUID: string;
  sopInstanceUID: string;
  seriesInstanceUID: string;
  studyInstanceUID: string;
  /** At least 1 where there is pixel data, 0 where there is none. */
  numberOfFrames: number;
  hasPixelData: boolean;
  /** Without file meta information and Pixel Data; bulk data have a VR and no value. */
  dataset: DicomJson;
  fileMeta: DicomJson;
  /** Where the values are that `dataset` leaves out. */
  bulkData: BulkData[];
}

/** An instance that is open for reading frames. */
export interface Instance {
  header: InstanceHeader;
  syntax: TransferSyntax;
  /** Holds the data set: the file, or its inflated data set. */
  source: ByteSource;
  pixelData?: PixelDataElement;
}

const fileMetaOffset = 132;
const fileMetaEncoding: Encoding = { explicit: true, bigEndian: false };
/** A deflated data set has to be inflated in memory: beyond this it is refused. */
const maxInflatedBytes = 2 ** 30;
/** Several times those of the largest slides and cines. */
const maxFrames = 2 ** 20;

/** How much is held in memory. */
export interface ReadingLimits {
  /** Values of more bytes are bulk data; 64 KiB by default. */
  inlineBytes?: number;
  /** A deflated data set that is larger is refused; 1 GiB by default, and at most. */
  inflatedBytes?: number;
}

/**
 * Reads a Part 10 file (PS3.10 section 7) without its bulk data. Preamble and file meta information may be
 * missing, as in files from before 1996: the first attribute tells VR and byte order. How pixels are compressed
 * nothing tells then, and such a file is refused.
 *
 * @throws DicomError
 */
export function readInstance(
  file: ByteSource,
  { inlineBytes, inflatedBytes = maxInflatedBytes }: ReadingLimits = {},
): Instance {
  const prefixed = file.size >= fileMetaOffset && ascii(file.read(128, 4)) === 'DICM';
  if (!prefixed && foundSyntax(file, 0) === undefined)
    throw new DicomError('not-dicom', 'neither a DICM prefix nor a data set', { offset: 0 });
  const meta = readDataSet(file, prefixed ? fileMetaOffset : 0, fileMetaEncoding, 0x0002);
  const declared = stringOf(meta.attributes, '00020010') !== undefined;
  const found = declared ? undefined : foundSyntax(file, meta.end);
  const syntax = transferSyntax(found ?? requiredUID(meta.attributes, '00020010', 'Transfer Syntax UID'));
  const [source, start] = syntax.deflated ? [inflated(file, meta.end, inflatedBytes), 0] : [file, meta.end];
  const {
    attributes: dataset,
    pixelData,
    bulkData,
  } = readDataSet(source, start, syntax, undefined, inlineBytes);
  if (!declared && pixelData?.encapsulated)
    throw new DicomError('unsupported', 'compressed pixels of an unknown transfer syntax', pixelData);
  const header: InstanceHeader = {
    transferSyntaxUID: syntax.uid,
    sopClassUID: requiredUID(dataset, '00080016', 'SOP Class UID'),
    sopInstanceUID: requiredUID(dataset, '00080018', 'SOP Instance UID'),
    studyInstanceUID: requiredUID(dataset, '0020000D', 'Study Instance UID'),
    seriesInstanceUID: requiredUID(dataset, '0020000E', 'Series Instance UID'),
    numberOfFrames: pixelData ? numberOfFrames(dataset, pixelData, syntax) : 0,
    hasPixelData: pixelData !== undefined,
    dataset,
    fileMeta: meta.attributes,
    bulkData,
  };
  return { header, syntax, source, ...(pixelData && { pixelData }) };
}

/**
 * The bytes of a value that `header.dataset` leaves out, in little endian.
 *
 * @param path as `header.bulkData` names it
 * @throws DicomError `malformed` where there is no such value
 */
export function readBulkData({ header, syntax, source }: Instance, path: string): Uint8Array {
  const value = header.bulkData.find((bulk) => bulk.path === path);
  if (!value) throw new DicomError('malformed', 'no bulk data of this path');
  const bytes = source.read(value.offset, value.length).slice();
  return syntax.bigEndian ? swapped(bytes, valueRepresentation(value.vr)?.size ?? 1) : bytes;
}

/**
 * The transfer syntax of the data set that starts at `offset`, by its first attribute: file meta information or
 * group 0008, with a VR in explicit ones. Undefined where no data set starts there.
 */
function foundSyntax(file: ByteSource, offset: number): string | undefined {
  if (offset + 8 > file.size) return undefined;
  const header = Buffer.from(file.read(offset, 8));
  const explicit = valueRepresentation(header.toString('latin1', 4, 6)) !== undefined;
  if (explicit && header.readUInt16BE(0) === 0x0008) return explicitBigEndian;
  if (![0x0002, 0x0008].includes(header.readUInt16LE(0))) return undefined;
  if (explicit) return explicitLittleEndian;
  return header.readUInt32LE(4) <= file.size - offset - 8 ? implicitLittleEndian : undefined;
}

function inflated(file: ByteSource, offset: number, limit: number): ByteSource {
  const maxOutputLength = Math.min(limit, maxInflatedBytes);
  try {
    const bytes = file.read(offset, file.size - offset);
    return new MemorySource(inflateRawSync(bytes, { maxOutputLength }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new DicomError('too-large', `deflated data set beyond ${maxOutputLength} bytes`, { offset });
    throw new DicomError('malformed', 'deflated data set cannot be inflated', { offset });
  }
}

function requiredUID(dataset: DicomJson, tag: string, name: string): string {
  const uid = stringOf(dataset, tag);
  if (uid === undefined) throw new DicomError('not-dicom', `${name} is missing`, { tag });
  if (!isUID(uid)) throw new DicomError('not-dicom', `${name} is not a UID`, { tag });
  return uid;
}

/** As the data set says, which is not believed where so many frames cannot lie in the pixel data: readers count on it. */
function numberOfFrames(dataset: DicomJson, pixelData: PixelDataElement, { codec }: TransferSyntax): number {
  const frames = numberOf(dataset, '00280008') ?? 1;
  if (!Number.isInteger(frames) || frames < 1)
    throw new DicomError('malformed', 'Number of Frames is not a positive integer', { tag: '00280008' });
  if (frames === 1) return 1;
  const most = Math.min(maxFrames, mostFrames(dataset, pixelData, codec !== undefined));
  if (frames > most)
    throw new DicomError('malformed', `Number of Frames ${frames}, the pixel data hold ${most} at most`, {
      tag: '00280008',
    });
  return frames;
}

/** A frame has a fragment of its own (PS3.5 A.4), other than in a video, or as many bits as it has samples. */
function mostFrames(dataset: DicomJson, { encapsulated, length }: PixelDataElement, stills: boolean): number {
  if (encapsulated) return stills ? encapsulated.fragments.length : length;
  const [rows, columns, samplesPerPixel, bitsAllocated] = [
    '00280010',
    '00280011',
    '00280002',
    '00280100',
  ].map((tag) => numberOf(dataset, tag) ?? 1);
  const photometricInterpretation = stringOf(dataset, '00280004') ?? '';
  const bits = frameBits({ rows, columns, samplesPerPixel, bitsAllocated, photometricInterpretation }, true);
  return Math.floor((8 * length) / Math.max(bits, 1));
}
