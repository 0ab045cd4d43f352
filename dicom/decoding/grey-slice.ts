import type { DicomJson } from '../dicom-json.ts';
import { frameAttributes } from '../functional-groups.ts';
import { planeGeometry } from '../plane-geometry.ts';
import { numberOf } from '../reading/attribute.ts';
import { DicomError } from '../reading/dicom-error.ts';
import type { Instance } from '../reading/part10.ts';
import type { Slice } from '../slice.ts';
import { luma, rgbPixels } from './colour.ts';
import { decodeFrame, type DecodedFrame } from './frame.ts';
import { modalityTransform } from './modality-lut.ts';
import { storedValues, type Samples } from './samples.ts';
import { voiTransform, windowTransform, type VoiTransform, type Window } from './voi-lut.ts';

/** How a frame becomes grey. */
export interface SliceOptions {
  /** In place of the data set's own VOI LUT or window; `stored`: the whole range of the stored bits. */
  window?: Window | 'stored';
  /** What to do with a frame in colour: its luma (ITU-R BT.601), or `colour` as an error (the default). */
  colour?: 'luma';
}

/** Where a data set has no window: percentiles of the frame's values that become black and white. */
const lowPercentile = 0.5;
const highPercentile = 99.5;

/**
 * One frame as a reader sees it: modality LUT, VOI LUT (else window, else the 0.5 to 99.5 percentiles of the
 * frame), MONOCHROME1 inverted; rounded to 0…255. Pixels of the padding value are black and in no percentile.
 *
 * @param frame counted from 1
 * @throws DicomError `colour` where the frame is in colour and `options` do not ask for its luma
 */
export async function readGreySlice(
  instance: Instance,
  frame: number,
  options: SliceOptions = {},
): Promise<Slice> {
  const decoded = await decodeFrame(instance, frame);
  const { dataset, sopInstanceUID } = instance.header;
  const geometry = planeGeometry(dataset, frame);
  return {
    sopInstanceUID,
    frame,
    rows: decoded.rows,
    columns: decoded.columns,
    pixels: greyPixels(decoded, frameAttributes(dataset, frame), options),
    ...(geometry && { geometry }),
  };
}

/**
 * The grey values of a decoded frame, see `readGreySlice`.
 *
 * @param attributes of the frame, see `frameAttributes`
 * @returns rows × columns, row by row, 0 is black
 */
export function greyPixels(
  decoded: DecodedFrame,
  attributes: DicomJson,
  options: SliceOptions = {},
): Uint8Array {
  const { photometricInterpretation: photometric, samplesPerPixel } = decoded;
  if (samplesPerPixel !== 1 || !photometric.startsWith('MONOCHROME')) {
    if (options.colour === 'luma') return luma(rgbPixels(decoded, attributes));
    throw new DicomError('colour', `the frame is ${photometric}`, { tag: '00280004' });
  }
  const stored = storedValues(decoded);
  const modality = modalityTransform(attributes);
  const isPadding = paddingTest(attributes, decoded);
  const voi =
    options.window === 'stored' || decoded.bitsStored === 1
      ? storedRange(decoded, modality)
      : options.window
        ? windowTransform(options.window)
        : (voiTransform(attributes) ?? percentileTransform(stored, modality, isPadding));
  const inverted = photometric === 'MONOCHROME1';
  return mapped(stored, (value) => {
    if (isPadding(value)) return 0;
    const grey = Math.round(255 * Math.min(Math.max(voi(modality(value)), 0), 1));
    return inverted ? 255 - grey : grey;
  });
}

/** Applies `transform` once per distinct value where these are few (at most 16 bits), else once per pixel. */
function mapped(stored: Samples, transform: (value: number) => number): Uint8Array {
  const pixels = new Uint8Array(stored.length);
  if (stored.BYTES_PER_ELEMENT > 2) {
    for (let i = 0; i < stored.length; i++) pixels[i] = transform(stored[i]);
    return pixels;
  }
  const table = new Int16Array(65536).fill(-1);
  for (let i = 0; i < stored.length; i++) {
    const index = stored[i] & 0xffff;
    if (table[index] < 0) table[index] = transform(stored[i]);
    pixels[i] = table[index]!;
  }
  return pixels;
}

/** From the lowest value that the stored bits can hold to the highest. */
function storedRange(
  { signed, bitsStored, pixelDataTag }: DecodedFrame,
  modality: (stored: number) => number,
): VoiTransform {
  if (pixelDataTag !== '7FE00010')
    throw new DicomError('unsupported', 'floating point pixels have no range', { tag: pixelDataTag });
  const values = 2 ** bitsStored;
  const [low, high] = (signed ? [-values / 2, values / 2 - 1] : [0, values - 1]).map(modality);
  return (value) => (value - low) / (high - low);
}

/**
 * Pixel Padding Value, or the range to Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2), in stored values. A value
 * written unsigned for signed pixels is read as what its bits mean.
 */
export function paddingTest(
  attributes: DicomJson,
  { signed, bitsAllocated }: DecodedFrame,
): (stored: number) => boolean {
  const asStored = (value: number): number =>
    signed && bitsAllocated <= 16 ? (value << (32 - bitsAllocated)) >> (32 - bitsAllocated) : value;
  const value = numberOf(attributes, '00280120');
  if (value === undefined) return () => false;
  const padding = asStored(value);
  const limit = asStored(numberOf(attributes, '00280121') ?? value);
  const [low, high] = [Math.min(padding, limit), Math.max(padding, limit)];
  return (stored) => stored >= low && stored <= high;
}

/** Percentiles by nearest rank over the pixels that are no padding. */
function percentileTransform(
  stored: Samples,
  modality: (stored: number) => number,
  isPadding: (stored: number) => boolean,
): VoiTransform {
  const counts = new Map<number, number>();
  let total = 0;
  for (const value of stored) {
    if (isPadding(value) || Number.isNaN(value)) continue;
    counts.set(value, (counts.get(value) ?? 0) + 1);
    total += 1;
  }
  const values = [...counts].map(([value, count]) => ({ value: modality(value), count }));
  values.sort((a, b) => a.value - b.value);
  const percentile = (percent: number): number => {
    let rank = Math.max(Math.ceil((percent / 100) * total), 1);
    return values.find(({ count }) => (rank -= count) <= 0)?.value ?? 0;
  };
  const [low, high] = [percentile(lowPercentile), percentile(highPercentile)];
  return (value) => (high > low ? (value - low) / (high - low) : 0);
}
