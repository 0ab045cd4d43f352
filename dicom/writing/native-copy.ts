import { decodeFrame } from '../decoding/frame.ts';
import type { ByteSource } from '../reading/byte-source.ts';
import { swapped } from '../reading/data-set.ts';
import { DicomError } from '../reading/dicom-error.ts';
import { readInstance, type Instance } from '../reading/part10.ts';
import { valueRepresentation } from '../reading/value-representation.ts';
import { writePart10 } from './write-part10.ts';

/** Values other than pixels are held in memory on their way; larger ones are refused. */
const largestValue = 2 ** 28;
/** A length of 32 bits; the last is the undefined length. */
const largestElement = 0xfffffffe;

/**
 * Offset tables describe the encapsulation; a signature and padding do not hold for the copy. An icon may be
 * compressed as the image is.
 */
const notCopied = ['7FE00001', '7FE00002', 'FFFAFFFA', 'FFFCFFFC', '00880200'];

/** What stands before the pixels of a copy, and how many bytes of pixels follow it. */
export interface NativeCopyHead {
  bytes: Uint8Array;
  /** Without the padding to an even length; 0 where there are no pixels. */
  pixelBytes: number;
  /** Whether pixels have to be decoded frame by frame, or are copied as they are. */
  encapsulated: boolean;
}

/**
 * The beginning of a copy of an instance in explicit VR little endian with native pixels; text becomes UTF-8.
 * What the pixels of a lossy compression lost stays lost, and the attributes that say so stay.
 *
 * @param source the file, whatever its transfer syntax
 * @throws DicomError `unsupported` where there is no decoder, `too-large` where a value does not fit
 */
export async function nativeCopyHead(source: ByteSource): Promise<NativeCopyHead> {
  const instance = readInstance(source, { inlineBytes: largestValue });
  const { header, pixelData } = instance;
  const [large] = header.bulkData;
  if (large) {
    throw new DicomError('too-large', `a value of ${large.length} bytes`, { tag: large.path.slice(-8) });
  }
  const dataset = { ...header.dataset };
  for (const tag of notCopied) Reflect.deleteProperty(dataset, tag);
  if (!pixelData) return { bytes: writePart10(dataset), pixelBytes: 0, encapsulated: false };
  if (!pixelData.encapsulated) {
    const { tag, vr, length } = pixelData;
    const bytes = Buffer.concat([writePart10(dataset), elementHeader(tag, vr, length)]);
    return { bytes, pixelBytes: length, encapsulated: false };
  }
  const { photometricInterpretation, highBit, samplesPerPixel, planar, bitsAllocated, bytes } =
    await decodeFrame(instance, 1);
  Object.assign(dataset, {
    '00280004': { vr: 'CS', Value: [photometricInterpretation] },
    '00280102': { vr: 'US', Value: [highBit] },
    ...(samplesPerPixel > 1 && { '00280006': { vr: 'US', Value: [Number(planar)] } }),
  });
  const pixelBytes = bytes.length * header.numberOfFrames;
  const pixels = elementHeader('7FE00010', bitsAllocated > 8 ? 'OW' : 'OB', pixelBytes);
  return { bytes: Buffer.concat([writePart10(dataset), pixels]), pixelBytes, encapsulated: true };
}

/**
 * A piece of native pixels in little endian.
 *
 * @param offset within the pixels, a multiple of 8
 */
export function nativePixels(
  { source, syntax, pixelData }: Instance,
  offset: number,
  length: number,
): Uint8Array {
  const bytes = source.read(pixelData!.offset + offset, length).slice();
  return syntax.bigEndian ? swapped(bytes, valueRepresentation(pixelData!.vr)?.size ?? 1) : bytes;
}

/** Of an element with a length of 32 bits (PS3.5 section 7.1.2), for a value that is padded to an even length. */
function elementHeader(tag: string, vr: string, length: number): Uint8Array {
  const even = length + (length % 2);
  if (even > largestElement) throw new DicomError('too-large', `${length} bytes of pixels`, { tag });
  const header = Buffer.alloc(12);
  header.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0);
  header.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2);
  header.write(vr, 4, 'latin1');
  header.writeUInt32LE(even, 8);
  return header;
}
