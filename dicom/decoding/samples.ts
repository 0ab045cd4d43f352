import { DicomError } from '../reading/dicom-error.ts';
import type { DecodedFrame } from './frame.ts';

/** The samples of a frame as numbers, row by row. */
export type Samples =
  Uint8Array | Int8Array | Uint16Array | Int16Array | Int32Array | Uint32Array | Float32Array | Float64Array;

/**
 * The stored pixel values of a grey frame (PS3.5 8.1.1): `bitsStored` bits up to `highBit`, sign extended where
 * Pixel Representation is 1. Bits outside (old overlays) are masked away.
 *
 * @throws DicomError where the depth cannot be read as numbers
 */
export function storedValues(frame: DecodedFrame): Samples {
  const { bitsAllocated, bitsStored, highBit, signed } = frame;
  const raw = cells(frame);
  if (frame.pixelDataTag !== '7FE00010' || (bitsStored === bitsAllocated && !signed)) return raw;
  // Two loops: one that decides for each sample takes twice the time.
  if (!signed) {
    const values = raw.slice();
    const right = highBit + 1 - bitsStored;
    const mask = 2 ** bitsStored - 1;
    for (let i = 0; i < values.length; i++) values[i] = (values[i] >>> right) & mask;
    return values;
  }
  const left = 31 - highBit;
  const right = 32 - bitsStored;
  const SignedArray = { 8: Int8Array, 16: Int16Array, 32: Int32Array }[bitsAllocated] ?? Int32Array;
  const values = new SignedArray(raw.length);
  for (let i = 0; i < raw.length; i++) values[i] = (raw[i] << left) >> right;
  return values;
}

/** Pixel cells, aligned for their type; typed arrays are little endian on every platform of Node. */
function cells({ bytes, bitsAllocated, pixelDataTag }: DecodedFrame): Samples {
  const { buffer } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const offset = bytes.byteOffset % 8 === 0 ? bytes.byteOffset : 0;
  if (pixelDataTag === '7FE00008') return new Float32Array(buffer, offset, bytes.length / 4);
  if (pixelDataTag === '7FE00009') return new Float64Array(buffer, offset, bytes.length / 8);
  if (bitsAllocated === 8) return bytes;
  if (bitsAllocated === 16) return new Uint16Array(buffer, offset, bytes.length / 2);
  if (bitsAllocated === 32) return new Uint32Array(buffer, offset, bytes.length / 4);
  throw new DicomError('unsupported', `Bits Allocated ${bitsAllocated}`, { tag: '00280100' });
}
