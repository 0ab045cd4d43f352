import { frameAttributes } from '../functional-groups.ts';
import type { Instance } from '../reading/part10.ts';
import { rgbPixels } from './colour.ts';
import { decodeFrame } from './frame.ts';
import { greyPixels, type SliceOptions } from './grey-slice.ts';

/** A frame as it is to be shown, 8 bits a sample. */
export interface Picture {
  rows: number;
  columns: number;
  /** 1 is grey, 3 is RGB. */
  channels: 1 | 3;
  /** rows × columns × channels, row by row. */
  pixels: Uint8Array;
}

/**
 * One frame as it is to be shown: grey through its window (`readGreySlice`), colour as it is.
 *
 * @param frame counted from 1
 * @throws DicomError
 */
export async function readPicture(
  instance: Instance,
  frame: number,
  options: SliceOptions = {},
): Promise<Picture> {
  const decoded = await decodeFrame(instance, frame);
  const attributes = frameAttributes(instance.header.dataset, frame);
  const { rows, columns } = decoded;
  if (decoded.photometricInterpretation.startsWith('MONOCHROME'))
    return { rows, columns, channels: 1, pixels: greyPixels(decoded, attributes, options) };
  return { rows, columns, channels: 3, pixels: rgbPixels(decoded, attributes) };
}
