import { frameAttributes } from '../functional-groups.ts';
import { DicomError } from '../reading/dicom-error.ts';
import type { Instance } from '../reading/part10.ts';
import { decodeFrame } from './frame.ts';
import { paddingTest } from './grey-slice.ts';
import { modalityTransform } from './modality-lut.ts';
import { storedValues } from './samples.ts';

/** Which pixels of a frame are counted. Padding never is. */
export interface CountedPixels {
  /** Not 0 where a pixel counts, row by row; all of them if left out. */
  mask?: Uint8Array;
  /** Values after the modality LUT, from the first to the second, that do not count. */
  background?: readonly [number, number];
}

/** How often values occur in one frame; the bins are those of `ValueHistogram`. */
export interface FrameHistogram {
  bins: Uint32Array;
  /** As many as `bins`. */
  counts: Uint32Array;
}

const { fround } = Math;
/** Bits of a float32 that make a bin: sign, exponent and 12 of the 23 of its fraction. */
const binBits = 21;
const droppedBits = 32 - binBits;

/**
 * The values of a frame after the modality LUT, counted.
 *
 * @param frame counted from 1
 * @throws DicomError `colour` where the frame is not grey
 */
export async function frameHistogram(
  instance: Instance,
  frame: number,
  { mask, background }: CountedPixels = {},
): Promise<FrameHistogram> {
  const decoded = await decodeFrame(instance, frame);
  if (decoded.samplesPerPixel !== 1)
    throw new DicomError('colour', `the frame is ${decoded.photometricInterpretation}`, { tag: '00280004' });
  const attributes = frameAttributes(instance.header.dataset, frame);
  const modality = modalityTransform(attributes);
  const isPadding = paddingTest(attributes, decoded);
  const stored = storedValues(decoded);
  if (mask && mask.length !== stored.length)
    throw new RangeError(`a frame of ${stored.length} pixels has a mask of ${mask.length}`);
  const byStored = new Map<number, number>();
  for (let i = 0; i < stored.length; i++) {
    if (mask?.[i] === 0) continue;
    byStored.set(stored[i], (byStored.get(stored[i]) ?? 0) + 1);
  }
  const [low, high] = background ?? [Infinity, -Infinity];
  const byBin = new Map<number, number>();
  for (const [value, count] of byStored) {
    const real = modality(value);
    if (isPadding(value) || Number.isNaN(real) || (real >= low && real <= high)) continue;
    const bin = binOf(real);
    byBin.set(bin, (byBin.get(bin) ?? 0) + count);
  }
  return { bins: Uint32Array.from(byBin.keys()), counts: Uint32Array.from(byBin.values()) };
}

/**
 * Counts the values of many frames in memory that does not grow with them: as float32 numbers rounded to 12 bits
 * of fraction, so integers up to 8192 are exact and others off by less than 1/8000 of themselves.
 */
export class ValueHistogram {
  readonly #counts = new Float64Array(2 ** binBits);
  #total = 0;

  add({ bins, counts }: FrameHistogram): void {
    bins.forEach((bin, i) => {
      this.#counts[bin] += counts[i];
      this.#total += counts[i];
    });
  }

  /** How many values were counted. */
  get total(): number {
    return this.#total;
  }

  /** The value at a percentile, by nearest rank. Undefined where nothing was counted. */
  percentile(percent: number): number | undefined {
    let rank = Math.max(Math.ceil((percent / 100) * this.#total), 1);
    const bin = this.#counts.findIndex((count) => (rank -= count) <= 0);
    return this.#total === 0 ? undefined : valueOf(bin);
  }

  /** The value that occurs most, and its share of all. Undefined where nothing was counted. */
  mode(): { value: number; share: number } | undefined {
    if (this.#total === 0) return undefined;
    const bin = this.#counts.reduce((most, count, i) => (count > this.#counts[most] ? i : most), 0);
    return { value: valueOf(bin), share: this.#counts[bin] / this.#total };
  }

  /** The share of the values from `low` to `high`, both included. */
  share(low: number, high: number): number {
    const sum = this.#counts.subarray(binOf(low), binOf(high) + 1).reduce((a, b) => a + b, 0);
    return sum / this.#total;
  }
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Bins are in the order of their values: negative numbers have their bits turned round. */
function binOf(value: number): number {
  float[0] = fround(value) + 0; // -0 is 0
  const rounded = Math.min(bits[0] + 2 ** (droppedBits - 1), 0xffffffff);
  const ordered = bits[0] >= 0x80000000 ? 0xffffffff - rounded : rounded + 0x80000000;
  return Math.floor(ordered / 2 ** droppedBits);
}

function valueOf(bin: number): number {
  const ordered = bin * 2 ** droppedBits;
  bits[0] = ordered >= 0x80000000 ? ordered - 0x80000000 : 0x100000000 - 2 ** droppedBits - ordered;
  return float[0];
}
