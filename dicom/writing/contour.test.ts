import { contours, type Point } from './contour.ts';
import type { Heatmap } from '../result.ts';
import type { Affine } from '../slice.ts';

const THRESHOLD = 0.5;

/** A slice of 64 × 64 with a map of 64 × 64 that `valueAt` fills, at the centres of its cells. */
function heatmapWith(
  valueAt: (x: number, y: number) => number,
  gridToSlice: Affine = [1, 0, 0, 0, 1, 0],
): Heatmap {
  return {
    rows: 64,
    columns: 64,
    pixels: new Uint8Array(64 * 64),
    map: Float32Array.from({ length: 64 * 64 }, (_, at) =>
      valueAt((at % 64) + 0.5, Math.floor(at / 64) + 0.5),
    ),
    mapRows: 64,
    mapColumns: 64,
    gridToSlice,
    mapThreshold: THRESHOLD,
  };
}

const hill = (cx: number, cy: number, sigma: number) => (x: number, y: number) =>
  Math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma * sigma));
/** Radius at which a hill falls to the threshold. */
const radiusOf = (sigma: number) => sigma * Math.sqrt(2 * Math.log(1 / THRESHOLD));
const distance = ([x, y]: Point, cx: number, cy: number) => Math.hypot(x - cx, y - cy);

test('the outline of a Gaussian hill is the circle that analysis gives', () => {
  const [contour, ...others] = contours(heatmapWith(hill(20.3, 41.8, 8)));
  expect(others).toEqual([]);
  for (const point of contour.points)
    expect(Math.abs(distance(point, 20.3, 41.8) - radiusOf(8))).toBeLessThan(0.02);
  // Chords within a quarter of a pixel enclose somewhat less than the circle.
  const circle = Math.PI * radiusOf(8) ** 2;
  expect(contour.area).toBeLessThan(circle);
  expect(contour.area).toBeGreaterThan(0.95 * circle);
  expect(contour.points.length).toBeLessThan(60);
  expect(contour.maximum).toBeCloseTo(1, 2);
});

test('the outline is carried onto the slice by gridToSlice', () => {
  const heatmap = heatmapWith(hill(32, 32, 6), [0, 0.5, 10, 0.25, 0, 20]);
  const [{ points, area }] = contours(heatmap);
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  expect((Math.min(...xs) + Math.max(...xs)) / 2).toBeCloseTo(26, 1);
  expect((Math.min(...ys) + Math.max(...ys)) / 2).toBeCloseTo(28, 1);
  expect(area / (Math.PI * radiusOf(6) ** 2 * 0.125)).toBeCloseTo(1, 0);
});

test('a region that reaches the edge is closed along the edge of the map', () => {
  const [{ points, area }] = contours(heatmapWith((x, y) => (x < 10 && y < 20 ? 1 : 0)));
  expect(points.every(([x, y]) => x >= 0 && y >= 0 && x <= 10.5 && y <= 20.5)).toBe(true);
  expect(area).toBeCloseTo(200, -1);
  expect(Math.min(...points.map(([x]) => x))).toBe(0);
});

test('a map above its threshold everywhere is outlined by the image itself', () => {
  const [{ points, area }] = contours(heatmapWith(() => 1, [2, 0, -30, 0, 2, -30]));
  expect(area).toBe(64 * 64);
  expect(new Set(points.map(String))).toEqual(new Set(['0,0', '64,0', '64,64', '0,64']));
});

test('what lies outside of the image is cut off, or gone', () => {
  const heatmap = heatmapWith(hill(32, 32, 10));
  const whole = contours(heatmap)[0].area;
  const [half] = contours({ ...heatmap, gridToSlice: [1, 0, -32, 0, 1, 0] });
  expect(half.area / whole).toBeCloseTo(0.5, 1);
  expect(Math.min(...half.points.map(([x]) => x))).toBe(0);
  expect(contours({ ...heatmap, gridToSlice: [1, 0, 500, 0, 1, 0] })).toEqual([]);
});

test('separate regions come apart, the largest first, touching corners by the value between', () => {
  const found = contours(heatmapWith((x, y) => hill(15, 15, 4)(x, y) + hill(45, 45, 7)(x, y)));
  expect(found.map(({ points }) => distance(points[0], 45, 45) < 20)).toEqual([true, false]);
  const squares = (between: number) => (x: number, y: number) =>
    (x < 32 && y < 32) || (x > 32 && y > 32) ? 1 : between;
  expect(contours(heatmapWith(squares(0.1)))).toHaveLength(1);
  expect(contours(heatmapWith(squares(-0.5)))).toHaveLength(2);
});

test('a hole is not an outline of its own', () => {
  const ring = (x: number, y: number) => (Math.abs(distance([x, y], 32, 32) - 15) < 5 ? 1 : 0);
  const found = contours(heatmapWith(ring));
  expect(found).toHaveLength(1);
  expect(found[0].area).toBeGreaterThan(Math.PI * 19 ** 2);
});

test('specks and maps below the threshold give nothing', () => {
  const speck = (size: number) => (x: number, y: number) =>
    x > 10 && x < 10 + size && y > 10 && y < 11 ? 0.6 : 0;
  expect(contours(heatmapWith(speck(1)))).toEqual([]);
  expect(contours(heatmapWith(() => THRESHOLD))).toEqual([]);
});
