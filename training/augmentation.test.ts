import { golden, maxError, openGolden } from '../fixtures/golden.ts';
import { normalise, resize } from '../inference/preprocess.ts';
import { readBytes } from '../inference/safetensors.ts';
import {
  augment,
  flipRows,
  meanLuminance,
  randomCrop,
  resizedCrop,
  rotate,
  scaleBrightness,
  scaleContrast,
} from './augmentation.ts';
import { uniformStream } from './philox.ts';

const SIZE = 112;

/** The three channels of a golden image. */
async function channels(name: string): Promise<Uint8Array[]> {
  const bytes = await readBytes(await openGolden('augment'), name);
  const plane = bytes.length / 3;
  return [0, 1, 2].map((channel) => bytes.subarray(channel * plane, (channel + 1) * plane));
}

const luminance = ([red, green, blue]: readonly Uint8Array[]) => meanLuminance(red, green, blue);

/** Each operation, and the golden image that it was applied to. */
const operations: [name: string, of: string, apply: (plane: Uint8Array, all: Uint8Array[]) => Uint8Array][] =
  [
    ['resize', 'in', (pixels) => resize({ pixels, rows: 150, columns: 130 }, SIZE)],
    [
      'resized_crop.top3.left2.h105.w109',
      'resize',
      (pixels) => resizedCrop(pixels, SIZE, { top: 3, left: 2, height: 105, width: 109 }),
    ],
    ['rotate.p7.3', 'resized_crop.top3.left2.h105.w109', (pixels) => rotate(pixels, SIZE, 7.3)],
    ['rotate.m4.1', 'resize', (pixels) => rotate(pixels, SIZE, -4.1)],
    ['vflip', 'rotate.p7.3', (pixels) => flipRows(pixels, SIZE)],
    ['brightness.0.93', 'vflip', (pixels) => scaleBrightness(pixels, 0.93)],
    ['then_contrast.1.07', 'brightness.0.93', (pixels, all) => scaleContrast(pixels, 1.07, luminance(all))],
    ['contrast.1.07', 'vflip', (pixels, all) => scaleContrast(pixels, 1.07, luminance(all))],
    ['then_brightness.0.93', 'contrast.1.07', (pixels) => scaleBrightness(pixels, 0.93)],
  ];

test.each(operations)("%s is torchvision's to the byte", async (name, of, apply) => {
  const input = await channels(of);
  const expected = await channels(name);
  input.forEach((plane, channel) => {
    expect(Buffer.from(apply(plane, input)).equals(expected[channel])).toBe(true);
  });
});

test('the whole chain, normalised', async () => {
  const expected = await golden('augment', 'final_norm');
  const planes = await channels('then_contrast.1.07');
  planes.forEach((plane, channel) => {
    const target = new Float32Array(3 * plane.length);
    normalise(plane, { mean: 0.449, std: 0.226 }, target);
    const part = expected.subarray(channel * plane.length, (channel + 1) * plane.length);
    expect(maxError(target.subarray(0, plane.length), part)).toBeLessThan(1e-6);
  });
});

test('crops have the stated area and ratio and lie inside', () => {
  const random = uniformStream(1, 'augmentation', 0);
  const crops = Array.from({ length: 500 }, () => randomCrop(224, random));
  for (const { top, left, height, width } of crops) {
    expect(top >= 0 && left >= 0 && top + height <= 224 && left + width <= 224).toBe(true);
    expect((height * width) / 224 ** 2).toBeGreaterThan(0.89);
  }
  expect(new Set(crops.map(({ width }) => width)).size).toBeGreaterThan(10);
});

test('a variant depends on its numbers alone', () => {
  const random = uniformStream(2, 'augmentation', 0);
  const pixels = Uint8Array.from({ length: 60 * 50 }, () => Math.floor(random() * 256));
  const variant = (position: number) =>
    augment(resize({ pixels, rows: 60, columns: 50 }, 32), 32, uniformStream(2, 'augmentation', position));
  expect(variant(1)).toEqual(variant(1));
  expect(variant(1)).not.toEqual(variant(2));
});

test('without the vertical flip a variant is the flipped one, turned back', () => {
  const picture = Uint8Array.from({ length: SIZE * SIZE }, (_, i) => (i * 7 + (i >> 5)) % 251);
  const flipped = Array.from({ length: 8 }, (_, seed) => {
    const [free, upright] = [true, false].map((flip) =>
      augment(picture, SIZE, uniformStream(seed, 'augmentation', 0), flip),
    );
    if (Buffer.from(free).equals(upright)) return false;
    expect(Buffer.from(flipRows(free, SIZE)).equals(upright)).toBe(true);
    return true;
  });
  expect(flipped).toContain(true);
  expect(flipped).toContain(false);
});
