import { testPattern } from '../fixtures/test-pattern.ts';
import { uniformStream } from './philox.ts';
import { anomalyKinds, anomalyPlace, withAnomaly } from './synthetic-anomaly.ts';

const [rows, columns] = [96, 80];
/** A picture with structure everywhere and a black margin. */
const slice = {
  pixels: Uint8Array.from(testPattern(rows, columns), (value, i) => {
    const [x, y] = [i % columns, Math.floor(i / columns)];
    return x < 10 || x >= 70 || y < 10 || y >= 86 ? 0 : 60 + 150 * value + 20 * Math.sin(x) * Math.cos(y);
  }),
  ...{ rows, columns },
};

describe.each(anomalyKinds)('%s', (kind) => {
  const made = Array.from({ length: 20 }, (_, seed) => {
    const random = uniformStream(seed, 'anomaly', 0);
    const place = anomalyPlace(slice, random)!;
    return { place, ...withAnomaly(slice, kind, place, random) };
  });

  test('changes the slice where it says, and only there', () => {
    for (const { pixels, truth } of made) {
      const changed = pixels.map((value, i) => (value === slice.pixels[i] ? 0 : 1));
      expect(changed.some((value, i) => value === 1 && truth[i] === 0)).toBe(false);
      const [size, marked] = [changed, truth].map((of) => of.reduce((sum, value) => sum + value, 0));
      expect(size / marked).toBeGreaterThan(0.15);
      expect(marked / (60 * 76)).toBeGreaterThan(0.01);
      expect(marked / (60 * 76)).toBeLessThan(0.1);
    }
  });

  test('is the same for the same seed, and another for another', () => {
    const random = uniformStream(3, 'anomaly', 0);
    const again = withAnomaly(slice, kind, anomalyPlace(slice, random)!, random);
    expect(again.pixels).toEqual(made[3].pixels);
    expect(again.pixels).not.toEqual(made[4].pixels);
  });
});

test('each kind does what its name says', () => {
  const place = { x: 40, y: 48, semiAxes: [12, 9] as const, angle: 0.5 };
  const inside = (values: ArrayLike<number>) =>
    Array.from(values).filter((_, i) => Math.hypot((i % columns) - 40, Math.floor(i / columns) - 48) < 6);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const steps = (pixels: Uint8Array) =>
    mean(inside(Array.from(pixels, (value, i) => Math.abs(value - pixels[i + 1]))));
  const of = (kind: (typeof anomalyKinds)[number]) =>
    withAnomaly(slice, kind, place, uniformStream(1, 'anomaly', 2)).pixels;
  expect(Math.abs(mean(inside(of('intensity'))) - mean(inside(slice.pixels)))).toBeGreaterThan(60);
  expect(steps(of('texture'))).toBeGreaterThan(1.5 * steps(slice.pixels));
  // What is gone has no structure any more: the rim goes on smoothly.
  expect(steps(of('missing'))).toBeLessThan(0.5 * steps(slice.pixels));
  // Tissue is moved, not made, and the middle stays.
  const moved = of('deformation');
  expect(Math.max(...moved)).toBeLessThanOrEqual(Math.max(...slice.pixels));
  expect(moved[48 * columns + 40]).toBe(slice.pixels[48 * columns + 40]);
  expect(steps(moved)).not.toBeCloseTo(steps(slice.pixels), 1);
  // As fine as before, but not the same.
  expect(steps(of('misplaced')) / steps(slice.pixels)).toBeGreaterThan(0.6);
});

test('a place lies within what is not background; a black slice has none', () => {
  for (let seed = 0; seed < 50; seed++) {
    const { x, y } = anomalyPlace(slice, uniformStream(seed, 'anomaly', 1))!;
    expect(slice.pixels[y * columns + x]).toBeGreaterThan(0);
  }
  const black = { ...slice, pixels: new Uint8Array(rows * columns) };
  expect(anomalyPlace(black, () => 0.5)).toBeUndefined();
});
