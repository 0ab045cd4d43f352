import sharp from 'sharp';
import type { InputSlice } from '../../inference/scorer.ts';

/** Whether a file's name says that it is a PNG or JPEG picture. */
export function isPicture(path: string): boolean {
  return /\.(png|jpe?g)$/i.test(path);
}

/**
 * Reads a PNG or JPEG picture as 8-bit grey; transparent parts are black.
 *
 * @throws Error if it is none.
 */
export async function readPicture(path: string): Promise<InputSlice> {
  const { data, info } = await sharp(path)
    .flatten({ background: 'black' })
    .greyscale()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { pixels: new Uint8Array(data), rows: info.height, columns: info.width };
}
