import { resize, roundHalfToEven } from '../inference/preprocess.ts';

const { exp, floor, fround, log, max, min, PI, cos, sin, sqrt, trunc } = Math;

/** A rectangle of pixels. */
export interface Crop {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

const CROP_TRIES = 10;
const CROP_AREA = [0.9, 1] as const;
const CROP_RATIO = [0.8, 1.2] as const;
const ROTATION_DEGREES = 10;
const INTENSITY = [0.9, 1.1] as const;

/**
 * One random variant of a grey picture on the model's size × size grid, bytes: resized crop, rotation, vertical flip,
 * brightness and contrast in random order, each as torchvision computes it on bytes. The same numbers are drawn with
 * and without the flip.
 */
export function augment(
  whole: Uint8Array<ArrayBuffer>,
  size: number,
  random: () => number,
  verticalFlip = true,
): Uint8Array<ArrayBuffer> {
  let pixels = resizedCrop(whole, size, randomCrop(size, random));
  pixels = rotate(pixels, size, uniform(random, -ROTATION_DEGREES, ROTATION_DEGREES));
  if (random() < 0.5 && verticalFlip) pixels = flipRows(pixels, size);
  const brightness = uniform(random, ...INTENSITY);
  const contrast = uniform(random, ...INTENSITY);
  const brighten = () => {
    pixels = scaleBrightness(pixels, brightness);
  };
  const stretch = () => {
    pixels = scaleContrast(pixels, contrast, meanLuminance(pixels, pixels, pixels));
  };
  for (const operation of random() < 0.5 ? [brighten, stretch] : [stretch, brighten]) operation();
  return pixels;
}

/** RandomResizedCrop's rectangle: area and ratio drawn until one fits, else the whole image. */
export function randomCrop(size: number, random: () => number): Crop {
  const [low, high] = CROP_RATIO;
  for (let i = 0; i < CROP_TRIES; i++) {
    const area = size * size * uniform(random, ...CROP_AREA);
    const ratio = exp(uniform(random, log(low), log(high)));
    const width = roundHalfToEven(sqrt(area * ratio));
    const height = roundHalfToEven(sqrt(area / ratio));
    if (width > size || height > size) continue;
    const top = floor(random() * (size - height + 1));
    const left = floor(random() * (size - width + 1));
    return { top, left, height, width };
  }
  return { top: 0, left: 0, height: size, width: size };
}

/** The rectangle of a size × size image, resized to size × size. */
export function resizedCrop(
  pixels: Uint8Array,
  size: number,
  { top, left, height, width }: Crop,
): Uint8Array<ArrayBuffer> {
  const cropped = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) {
    const start = (top + row) * size + left;
    cropped.set(pixels.subarray(start, start + width), row * width);
  }
  return resize({ pixels: cropped, rows: height, columns: width }, size);
}

/** Rotates counter-clockwise by `degrees` about the centre; the nearest pixel, black from outside. */
export function rotate(pixels: Uint8Array, size: number, degrees: number): Uint8Array<ArrayBuffer> {
  const [c, s] = [cos((degrees * PI) / 180), sin((degrees * PI) / 180)];
  const centre = (size - 1) / 2;
  const rotated = new Uint8Array(size * size);
  for (let row = 0; row < size; row++) {
    const y = row - centre;
    for (let column = 0; column < size; column++) {
      const x = column - centre;
      const sourceColumn = roundHalfToEven(x * c - y * s + centre);
      const sourceRow = roundHalfToEven(x * s + y * c + centre);
      if (sourceColumn < 0 || sourceColumn >= size || sourceRow < 0 || sourceRow >= size) continue;
      rotated[row * size + column] = pixels[sourceRow * size + sourceColumn];
    }
  }
  return rotated;
}

/** Upside down. */
export function flipRows(pixels: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const flipped = new Uint8Array(size * size);
  for (let row = 0; row < size; row++) {
    flipped.set(pixels.subarray(row * size, (row + 1) * size), (size - 1 - row) * size);
  }
  return flipped;
}

/** v · factor, clamped and truncated to bytes. */
export function scaleBrightness(pixels: Uint8Array, factor: number): Uint8Array<ArrayBuffer> {
  return blend(pixels, factor, 0);
}

/** Away from or towards `mean`: v · factor + mean · (1 − factor), clamped and truncated to bytes. */
export function scaleContrast(pixels: Uint8Array, factor: number, mean: number): Uint8Array<ArrayBuffer> {
  return blend(pixels, factor, mean);
}

/** The mean of the image's whole-numbered luminance (ITU-R BT.601 weights), in float32 as torchvision has it. */
export function meanLuminance(red: Uint8Array, green: Uint8Array, blue: Uint8Array): number {
  const [r, g, b] = [0.2989, 0.587, 0.114].map((weight) =>
    Float32Array.from({ length: 256 }, (_, value) => fround(weight) * value),
  );
  let sum = 0;
  for (let i = 0; i < red.length; i++) sum += trunc(fround(fround(r[red[i]] + g[green[i]]) + b[blue[i]]));
  return fround(sum / red.length);
}

/** torchvision's `_blend` of bytes with a constant. */
function blend(pixels: Uint8Array, factor: number, constant: number): Uint8Array<ArrayBuffer> {
  const offset = fround(fround(1 - factor) * constant);
  const table = Uint8Array.from({ length: 256 }, (_, value) =>
    trunc(min(max(fround(fround(fround(factor) * value) + offset), 0), 255)),
  );
  return Uint8Array.from(pixels, (value) => table[value]);
}

function uniform(random: () => number, low: number, high: number): number {
  return low + (high - low) * random();
}
