import type { InputSlice } from '../preprocess.ts';
import type { Manifest } from './schema.ts';

const TOLERANCE = 1e-4;

/**
 * The picture whose score a bundle keeps, `size` × `size`: a bright disc with a darker one inside, off its middle.
 * It is drawn, because a bundle must not hold a patient's slice.
 */
export function referencePicture(size: number): InputSlice {
  const pixels = Uint8Array.from({ length: size * size }, (_, i) => {
    const [x, y] = [(i % size) / size, Math.floor(i / size) / size];
    if ((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.01) return 60;
    return (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.16 ? 150 : 0;
  });
  return { pixels, rows: size, columns: size };
}

/** What a bundle keeps of a picture on the model's grid and its score. */
export function storedReference(pixels: Uint8Array, rawScore: number): Manifest['reference'] {
  return { pixels: Buffer.from(pixels).toString('base64'), rawScore, tolerance: TOLERANCE };
}
