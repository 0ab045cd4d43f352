import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { bilateralFilter, placeRegion } from './region.ts';

const SIZE = 224;
const LIVER = { diameter: 9, sigmaColor: 75, sigmaSpace: 75 };

interface Case {
  rows: number;
  columns: number;
  box: [number, number, number, number];
  seed: number;
  /** SHA-256. */
  canvas: string;
  /** PNG, Base64. */
  filtered: string;
}

/** What OpenCV makes of the pictures; see the script beside it. */
const cases = JSON.parse(
  readFileSync(join(import.meta.dirname, 'reference', 'region.json'), 'utf8'),
) as Case[];

function picture({ rows, columns, box: [top, left, height, width], seed }: Case) {
  const pixels = new Uint8Array(rows * columns);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      pixels[(top + y) * columns + left + x] =
        1 + (Math.floor((x * x * 3 + y * 7 + x * y * seed) / 11) % 255);
    }
  }
  return { pixels, rows, columns };
}

async function decode(base64: string): Promise<Uint8Array> {
  return sharp(Buffer.from(base64, 'base64')).greyscale().raw().toBuffer();
}

/** How many pixels differ, and by how much at most. */
function differences(actual: Uint8Array, expected: Uint8Array): [number, number] {
  expect(actual.length).toBe(expected.length);
  const apart = actual
    .map((value, i) => Math.abs(value - expected[i]))
    .filter((difference) => difference > 0);
  return [apart.length, apart.reduce((a, b) => Math.max(a, b), 0)];
}

describe.each(cases)('region $box of $rows × $columns', (expected) => {
  test('is placed as OpenCV places it, to the byte', () => {
    const { pixels } = placeRegion(picture(expected), SIZE);
    expect(createHash('sha256').update(pixels).digest('hex')).toBe(expected.canvas);
  });

  test('is smoothed as by OpenCV, to the byte', async () => {
    const { pixels } = placeRegion(picture(expected), SIZE);
    expect(differences(bilateralFilter(pixels, SIZE, LIVER), await decode(expected.filtered))).toEqual([
      0, 0,
    ]);
  });

  test('the affine takes the placed region to where it came from', () => {
    const slice = picture(expected);
    const { pixels, gridToSlice } = placeRegion(slice, SIZE);
    const [a, b, c, d, e, f] = gridToSlice;
    expect([b, d]).toEqual([0, 0]);
    const lit = Array.from(pixels.keys()).filter((i) => pixels[i] > 0);
    const columns = lit.map((i) => i % SIZE);
    const rows = lit.map((i) => Math.floor(i / SIZE));
    const ends = (values: number[]) => [
      values.reduce((x, y) => Math.min(x, y)),
      values.reduce((x, y) => Math.max(x, y)) + 1,
    ];
    const [top, left, height, width] = expected.box;
    expect(ends(columns).map((x) => a * x + c)).toEqual([
      expect.closeTo(left, 9),
      expect.closeTo(left + width, 9),
    ]);
    expect(ends(rows).map((y) => e * y + f)).toEqual([
      expect.closeTo(top, 9),
      expect.closeTo(top + height, 9),
    ]);
    // Where nothing was shrunk, each pixel of the grid is the pixel of the slice.
    if (a === 1 && e === 1) {
      const moved = lit.filter((i) => {
        const [x, y] = [(i % SIZE) + c, Math.floor(i / SIZE) + f];
        return pixels[i] !== slice.pixels[y * slice.columns + x];
      });
      expect(moved).toEqual([]);
    }
  });
});

test('a black slice gives a black canvas about its middle', () => {
  const { pixels, gridToSlice } = placeRegion(
    { pixels: new Uint8Array(300 * 200), rows: 300, columns: 200 },
    SIZE,
  );
  expect(pixels.every((value) => value === 0)).toBe(true);
  const [a, , c, , e, f] = gridToSlice;
  expect([a * 112 + c, e * 112 + f]).toEqual([100, 150]);
});
