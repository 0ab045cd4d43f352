import { readFileSync } from 'node:fs';
import type { ImagePixel } from '../reading/image-pixel.ts';
import { decodeCompressed } from './codec.ts';

/** Encoded by OpenJPH, decoded by OpenJPEG; see `fixtures/htj2k/make-reference.py`. */
const { rows, columns, images } = JSON.parse(
  readFileSync(new URL('../../fixtures/htj2k/reference.json', import.meta.url), 'utf8'),
) as {
  rows: number;
  columns: number;
  images: Record<
    string,
    {
      samplesPerPixel: number;
      bitsAllocated: 8 | 16;
      signed: boolean;
      reversible: boolean;
      codestream: string;
      decoded: string;
    }
  >;
};

const samples = (bytes: Uint8Array, bits: 8 | 16, signed: boolean): Uint8Array | Uint16Array | Int16Array =>
  bits === 8 ? bytes : new (signed ? Int16Array : Uint16Array)(new Uint8Array(bytes).buffer);

test.each(Object.entries(images))('HTJ2K, %s: what OpenJPEG decodes', async (_name, reference) => {
  const { samplesPerPixel, bitsAllocated, signed, reversible } = reference;
  const image: ImagePixel = {
    rows,
    columns,
    samplesPerPixel,
    bitsAllocated,
    bitsStored: bitsAllocated,
    highBit: bitsAllocated - 1,
    signed,
    planar: false,
    photometricInterpretation: samplesPerPixel === 1 ? 'MONOCHROME2' : reversible ? 'YBR_RCT' : 'YBR_ICT',
  };
  const decoded = await decodeCompressed('htj2k', Buffer.from(reference.codestream, 'base64'), image);
  expect(decoded).toMatchObject({ bitsAllocated, precision: bitsAllocated });
  const ours = samples(decoded.bytes, bitsAllocated, signed);
  const theirs = samples(Buffer.from(reference.decoded, 'base64'), bitsAllocated, signed);
  expect(ours).toHaveLength(theirs.length);
  let largest = 0;
  for (let i = 0; i < ours.length; i++) largest = Math.max(largest, Math.abs(ours[i] - theirs[i]));
  // The inverse transform of lossy streams is in single precision, in an order that each decoder chooses.
  expect(largest).toBeLessThanOrEqual(reversible ? 0 : bitsAllocated === 8 ? 1 : 4);
});
