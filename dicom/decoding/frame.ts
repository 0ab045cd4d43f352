import { DicomError } from '../reading/dicom-error.ts';
import { readStoredFrame } from '../reading/frame.ts';
import { frameBits, imagePixel, type ImagePixel } from '../reading/image-pixel.ts';
import type { Instance } from '../reading/part10.ts';
import { explicitLittleEndian, readableTransferSyntaxes } from '../reading/transfer-syntax.ts';
import { decodeCompressed } from './codec.ts';
import { decodeRle } from './rle.ts';
import { storedValues } from './samples.ts';

/** One frame, decoded: what a WADO-RS client gets as `application/octet-stream`. */
export interface DecodedFrame extends ImagePixel {
  /** Little endian; layout as `planar` and `photometricInterpretation` say. */
  bytes: Uint8Array;
  /** Of the data set: float samples where it is 7FE00008 (32 bits) or 7FE00009 (64 bits). */
  pixelDataTag: string;
}

/** One frame as it is stored, or in explicit little endian where it is native. */
export interface EncodedFrame {
  bytes: Uint8Array;
  transferSyntaxUID: string;
  /** PS3.18 tables 8.7.3-2 and 8.7.3-5. */
  mediaType: string;
}

/** Frames up to here are decoded however well they are compressed; an empty one may take hardly any bytes. */
const freeBytes = 64 * 1024 * 1024;
/** Beyond, more pixels than so many a byte are no image but an attack on the memory. */
const maxExpansion = 4096;

/**
 * Decodes one frame to native samples.
 *
 * @param frame counted from 1
 * @throws DicomError
 */
export async function decodeFrame(instance: Instance, frame: number): Promise<DecodedFrame> {
  const { syntax } = instance;
  const pixelDataTag = instance.pixelData?.tag ?? '7FE00010';
  const image = checkedImagePixel(instance, pixelDataTag);
  const stored = readStoredFrame(instance, image, frame);
  if (!readableTransferSyntaxes.includes(syntax.uid))
    throw new DicomError('unsupported', `no decoder for transfer syntax ${syntax.uid}`, { tag: '00020010' });
  if (!instance.pixelData!.encapsulated) return { ...image, bytes: stored, pixelDataTag };
  if (syntax.codec === undefined)
    throw new DicomError('malformed', 'compressed pixels in a native transfer syntax', instance.pixelData);
  if (
    ![8, 16, 24, 32].includes(image.bitsAllocated) ||
    (syntax.codec !== 'rle' && image.bitsAllocated === 24)
  )
    throw new DicomError('unsupported', `Bits Allocated ${image.bitsAllocated}, compressed`, {
      tag: '00280100',
    });
  const expected = frameBits(image, false) / 8;
  if (expected > freeBytes && expected > maxExpansion * stored.length)
    throw new DicomError(
      'too-large',
      `${stored.length} bytes that expand to ${expected}`,
      instance.pixelData,
    );
  if (syntax.codec === 'rle')
    return { ...image, planar: false, bytes: decodeRle(stored, image), pixelDataTag };
  const decoded = await decodeCompressed(syntax.codec, stored, image);
  const decodedFrame = {
    ...image,
    planar: false,
    photometricInterpretation: decoded.photometricInterpretation,
    // The stream's samples are right aligned, wherever High Bit puts them in a native cell.
    highBit: Math.min(image.highBit, Math.max(decoded.precision, image.bitsStored) - 1),
    bytes: widened(decoded.bytes, decoded.bitsAllocated, image.bitsAllocated),
    pixelDataTag,
  };
  return image.signed ? signExtended(decodedFrame) : decodedFrame;
}

/**
 * One frame without decoding.
 *
 * @param frame counted from 1
 * @throws DicomError
 */
export function encodedFrame(instance: Instance, frame: number): EncodedFrame {
  const { syntax } = instance;
  const image = checkedImagePixel(instance, instance.pixelData?.tag ?? '7FE00010');
  return {
    bytes: readStoredFrame(instance, image, frame),
    transferSyntaxUID: instance.pixelData!.encapsulated ? syntax.uid : explicitLittleEndian,
    mediaType: syntax.mediaType,
  };
}

function checkedImagePixel({ header, pixelData }: Instance, pixelDataTag: string): ImagePixel {
  if (!pixelData) throw new DicomError('no-frame', 'the instance has no pixel data', { tag: '7FE00010' });
  const image = imagePixel(header.dataset, pixelDataTag);
  const { bitsAllocated } = image;
  // PS3.5 8.1.1 allows 1 and multiples of 8; 12 were packed before.
  if (bitsAllocated > 32 && !(bitsAllocated === 64 && pixelDataTag === '7FE00009'))
    throw new DicomError('unsupported', `Bits Allocated ${bitsAllocated}`, { tag: '00280100' });
  return image;
}

/** Streams hold signed samples without their upper sign bits, or declare them unsigned altogether. */
function signExtended(frame: DecodedFrame): DecodedFrame {
  const { buffer, byteOffset, byteLength } = storedValues(frame);
  return { ...frame, highBit: frame.bitsStored - 1, bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}

/** 8-bit samples in 16 or 32 bits, as Bits Allocated declares them; likewise 16 in 32. */
function widened(bytes: Uint8Array, from: 8 | 16, to: number): Uint8Array {
  if (from === to) return bytes;
  const narrow = from === 8 ? bytes : new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return new Uint8Array(to === 16 ? new Uint16Array(narrow).buffer : new Uint32Array(narrow).buffer);
}
