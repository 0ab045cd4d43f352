import { bilinearAntialiased } from './resample.ts';

/**
 * A 2×3 affine `[a, b, c, d, e, f]`: x' = a·x + b·y + c, y' = d·x + e·y + f, with x along columns and y along
 * rows. Coordinates are continuous: pixel i covers [i, i + 1).
 */
export type Affine = readonly [number, number, number, number, number, number];

/** An 8-bit grey image, rows × columns, row-major. */
export interface InputSlice {
  readonly pixels: Uint8Array;
  readonly rows: number;
  readonly columns: number;
  /** What the profile looks at: not 0 inside the organ, row-major. The whole slice if left out. */
  readonly mask?: Uint8Array;
}

export interface Normalisation {
  /** Of intensities in [0, 1]. */
  readonly mean: number;
  /** Standard deviation, of intensities in [0, 1]. */
  readonly std: number;
}

const { floor, fround } = Math;

const CHANNELS = 3;

/**
 * Resizes to size × size, bilinear and antialiased, rounded to bytes: torchvision's `resize` of a byte tensor
 * (in float32, columns before rows, halves to even). Throws if the pixels do not fill the slice.
 */
export function resize({ pixels, rows, columns }: InputSlice, size: number): Uint8Array<ArrayBuffer> {
  if (rows < 1 || columns < 1 || pixels.length !== rows * columns) {
    throw new Error(`a slice of ${rows} × ${columns} cannot have ${pixels.length} pixels`);
  }
  const across = bilinearAntialiased(columns, size);
  const down = bilinearAntialiased(rows, size);

  const narrowed = new Float32Array(rows * size);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < size; column++) {
      const { start, weights } = across[column];
      const first = row * columns + start;
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * pixels[first + i];
      narrowed[row * size + column] = sum;
    }
  }
  const resized = new Uint8Array(size * size);
  for (let row = 0; row < size; row++) {
    const { start, weights } = down[row];
    for (let column = 0; column < size; column++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * narrowed[(start + i) * size + column];
      resized[row * size + column] = roundHalfToEven(fround(sum));
    }
  }
  return resized;
}

/** Bytes of one grey image → (3, n), normalised, grey repeated, written to `target`. */
export function normalise(pixels: Uint8Array, { mean, std }: Normalisation, target: Float32Array): void {
  if (target.length !== CHANNELS * pixels.length) {
    throw new Error(`${pixels.length} pixels in 3 channels do not fill ${target.length} values`);
  }
  const table = Float32Array.from({ length: 256 }, (_, byte) => (fround(byte / 255) - mean) / std);
  for (let i = 0; i < pixels.length; i++) target[i] = table[pixels[i]];
  target.copyWithin(pixels.length, 0, pixels.length);
  target.copyWithin(2 * pixels.length, 0, pixels.length);
}

/** (3, n), normalised → bytes of one grey image: the mean of the channels, as `normalise` would have got it. */
export function denormalise(values: Float32Array, { mean, std }: Normalisation): Uint8Array<ArrayBuffer> {
  const n = values.length / CHANNELS;
  const pixels = new Uint8ClampedArray(n); // rounds, and holds values outside of [0, 255] at its ends
  for (let i = 0; i < n; i++) {
    pixels[i] = 255 * (((values[i] + values[n + i] + values[2 * n + i]) / CHANNELS) * std + mean);
  }
  return new Uint8Array(pixels.buffer);
}

/** The affine from the model's size × size grid to the slice. */
export function gridToSlice({ rows, columns }: Pick<InputSlice, 'rows' | 'columns'>, size: number): Affine {
  return [columns / size, 0, 0, 0, rows / size, 0];
}

/** As IEEE 754 and OpenCV round. */
export function roundHalfToEven(value: number): number {
  const below = floor(value);
  const fraction = value - below;
  if (fraction === 0.5) return below % 2 === 0 ? below : below + 1;
  return fraction < 0.5 ? below : below + 1;
}
