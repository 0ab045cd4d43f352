import { roundHalfToEven } from './preprocess.ts';
import type { Affine, InputSlice } from './preprocess.ts';

const { floor, min, max } = Math;

/** A picture on the model's grid, and where the grid lies on the slice. */
export interface PlacedSlice {
  /** size × size, row-major. */
  readonly pixels: Uint8Array<ArrayBuffer>;
  readonly gridToSlice: Affine;
}

/**
 * Puts what is not black in the middle of a black size × size canvas, as it is; shrunk, with its proportions, only
 * if it is larger. A slice that is black gives a black canvas about its middle.
 */
export function placeRegion(slice: InputSlice, size: number): PlacedSlice {
  const canvas = new Uint8Array(size * size);
  const box = boundingBox(slice);
  if (!box) {
    return { pixels: canvas, gridToSlice: [1, 0, (slice.columns - size) / 2, 0, 1, (slice.rows - size) / 2] };
  }
  const scale = min(1, size / box.rows, size / box.columns);
  const [rows, columns] = [floor(box.rows * scale), floor(box.columns * scale)].map((length) =>
    max(length, 1),
  );
  const region = scale < 1 ? resizeLinear(box, rows, columns) : box.pixels;
  const [top, left] = [floor((size - rows) / 2), floor((size - columns) / 2)];
  for (let row = 0; row < rows; row++) {
    canvas.set(region.subarray(row * columns, (row + 1) * columns), (top + row) * size + left);
  }
  const [x, y] = [box.columns / columns, box.rows / rows];
  return { pixels: canvas, gridToSlice: [x, 0, box.left - left * x, 0, y, box.top - top * y] };
}

/** The smallest part of a slice that holds every pixel above 0. */
function boundingBox({
  pixels,
  rows,
  columns,
}: InputSlice): (InputSlice & { top: number; left: number }) | undefined {
  let [top, left, bottom, right] = [rows, columns, -1, -1];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (pixels[row * columns + column] === 0) continue;
      [top, bottom] = [min(top, row), row];
      [left, right] = [min(left, column), max(right, column)];
    }
  }
  if (bottom < 0) return undefined;
  const size = { rows: bottom - top + 1, columns: right - left + 1 };
  const part = new Uint8Array(size.rows * size.columns);
  for (let row = 0; row < size.rows; row++) {
    const first = (top + row) * columns + left;
    part.set(pixels.subarray(first, first + size.columns), row * size.columns);
  }
  return { ...size, pixels: part, top, left };
}

/** Weights are in units of 1/2048. */
const WEIGHT_ONE = 2048;

/**
 * Bilinear between the two nearest pixels, in the fixed-point arithmetic of OpenCV's `resize` of bytes
 * (INTER_LINEAR, modules/imgproc/src/resize.cpp, `VResizeLinear`).
 */
function resizeLinear(source: InputSlice, rows: number, columns: number): Uint8Array {
  const across = linearWeights(source.columns, columns);
  const down = linearWeights(source.rows, rows);
  const result = new Uint8Array(rows * columns);
  const interpolate = (row: number, { first, second, weights: [a, b] }: LinearWeights) =>
    (source.pixels[row * source.columns + first] * a + source.pixels[row * source.columns + second] * b) >> 4;
  for (let row = 0; row < rows; row++) {
    const { first, second, weights } = down[row];
    for (let column = 0; column < columns; column++) {
      const upper = (interpolate(first, across[column]) * weights[0]) >> 16;
      const lower = (interpolate(second, across[column]) * weights[1]) >> 16;
      result[row * columns + column] = (upper + lower + 2) >> 2;
    }
  }
  return result;
}

interface LinearWeights {
  readonly first: number;
  readonly second: number;
  readonly weights: readonly [number, number];
}

function linearWeights(from: number, to: number): LinearWeights[] {
  return Array.from({ length: to }, (_, i) => {
    const position = Math.fround((i + 0.5) * (from / to) - 0.5);
    const start = floor(position);
    const inside = start >= 0 && start < from - 1;
    const first = min(max(start, 0), from - 1);
    const fraction = inside ? Math.fround(position - start) : 0;
    const weights = [Math.fround(1 - fraction), fraction].map((weight) =>
      roundHalfToEven(weight * WEIGHT_ONE),
    );
    return { first, second: min(first + 1, from - 1), weights: weights as [number, number] };
  });
}

export interface BilateralFilter {
  /** Of the neighbourhood, in pixels: an odd number. */
  readonly diameter: number;
  /** Standard deviation over grey values. */
  readonly sigmaColor: number;
  /** Standard deviation over distances, in pixels. */
  readonly sigmaSpace: number;
}

/**
 * The bilateral filter of a square picture of bytes (Tomasi & Manduchi 1998), as OpenCV computes it: a round
 * neighbourhood, weights and sums in float32, the picture mirrored beyond its border without repeating it.
 */
export function bilateralFilter(
  pixels: Uint8Array,
  size: number,
  { diameter, sigmaColor, sigmaSpace }: BilateralFilter,
): Uint8Array<ArrayBuffer> {
  const radius = floor(diameter / 2);
  const gaussian = (distance: number, sigma: number) =>
    Math.fround(Math.exp((-0.5 * distance * distance) / (sigma * sigma)));
  const colour = Float32Array.from({ length: 256 }, (_, difference) => gaussian(difference, sigmaColor));
  const width = size + 2 * radius;
  const padded = mirrored(pixels, size, radius);
  const [offsets, space]: [number[], number[]] = [[], []];
  for (let y = -radius; y <= radius; y++) {
    for (let x = -radius; x <= radius; x++) {
      const distance = Math.hypot(x, y);
      if (distance > radius) continue;
      offsets.push(y * width + x);
      space.push(gaussian(distance, sigmaSpace));
    }
  }
  const { fround, abs } = Math;
  const result = new Uint8Array(size * size);
  for (let i = 0; i < result.length; i++) {
    const centre = (floor(i / size) + radius) * width + (i % size) + radius;
    const value = padded[centre];
    let [sum, total] = [0, 0];
    for (let k = 0; k < offsets.length; k++) {
      const neighbour = padded[centre + offsets[k]];
      const weight = fround(space[k] * colour[abs(neighbour - value)]);
      total = fround(total + weight);
      sum = fround(sum + neighbour * weight); // fused, rounded once
    }
    result[i] = roundHalfToEven(fround(sum / total));
  }
  return result;
}

/** The picture with a border of `radius` pixels, reflected about its outermost ones. */
function mirrored(pixels: Uint8Array, size: number, radius: number): Uint8Array {
  const width = size + 2 * radius;
  const inside = (i: number) => {
    const distance = Math.abs(i - radius);
    return distance < size ? distance : 2 * (size - 1) - distance;
  };
  return Uint8Array.from(
    { length: width * width },
    (_, i) => pixels[inside(floor(i / width)) * size + inside(i % width)],
  );
}
