import type { DecodedFrame } from './frame.ts';

/** The samples of a frame as numbers, row by row. */
export type Samples =
  Uint8Array | Int8Array | Uint16Array | Int16Array | Int32Array | Uint32Array | Float32Array | Float64Array;

/**
 * The stored pixel values of a frame (PS3.5 8.1.1): `bitsStored` bits up to `highBit`, sign extended where
 * Pixel Representation is 1. Bits outside (old overlays) are masked away.
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
function cells(frame: DecodedFrame): Samples {
  const { bytes, bitsAllocated, pixelDataTag } = frame;
  const { buffer } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const offset = bytes.byteOffset % 8 === 0 ? bytes.byteOffset : 0;
  if (pixelDataTag === '7FE00008') return new Float32Array(buffer, offset, bytes.length / 4);
  if (pixelDataTag === '7FE00009') return new Float64Array(buffer, offset, bytes.length / 8);
  if (bitsAllocated === 8) return bytes;
  if (bitsAllocated === 16) return new Uint16Array(buffer, offset, bytes.length / 2);
  if (bitsAllocated === 32) return new Uint32Array(buffer, offset, bytes.length / 4);
  const count = Math.min(
    frame.rows * frame.columns * frame.samplesPerPixel,
    Math.floor((bytes.length * 8) / bitsAllocated),
  );
  return packedCells(bytes, bitsAllocated, count);
}

/** Cells of any number of bits up to 32, one behind the other, the lowest bit of a byte first (PS3.5 8.1.1). */
function packedCells(bytes: Uint8Array, bits: number, count: number): Uint32Array {
  const cells = new Uint32Array(count);
  for (let i = 0; i < cells.length; i++) {
    let value = 0;
    for (let bit = i * bits, at = 0; at < bits;) {
      const taken = Math.min(8 - (bit & 7), bits - at);
      value += ((bytes[bit >> 3] >> (bit & 7)) & (2 ** taken - 1)) * 2 ** at;
      bit += taken;
      at += taken;
    }
    cells[i] = value;
  }
  return cells;
}
