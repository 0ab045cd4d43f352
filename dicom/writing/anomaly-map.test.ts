import { inverse, mapOnSlice, transform } from './anomaly-map.ts';
import { scoredProjection } from './scored-study.fixture.ts';

const [heatmap] = scoredProjection().heatmaps;
const small = (rows: number, columns: number) => ({
  ...heatmap,
  rows,
  columns,
  pixels: new Uint8Array(rows * columns),
});

test('an inverse undoes its affine', () => {
  const affine = [2, 0.5, -3, -0.25, 4, 7] as const;
  const [x, y] = transform(affine, 1.5, -2);
  expect(transform(inverse(affine), x, y)).toEqual([expect.closeTo(1.5, 12), expect.closeTo(-2, 12)]);
  expect(() => inverse([1, 2, 0, 2, 4, 0])).toThrow('gridToSlice cannot be inverted');
});

test('a map on the grid of the slice is the map itself', () => {
  const map = Float32Array.from([0, 1, 2, 3, 4, 5]);
  const on = mapOnSlice({
    ...small(2, 3),
    map,
    mapRows: 2,
    mapColumns: 3,
    gridToSlice: [1, 0, 0, 0, 1, 0],
  });
  expect([...on]).toEqual([...map]);
});

test('twice as fine, it is interpolated between the centres and held beyond them', () => {
  const on = mapOnSlice({
    ...small(1, 4),
    map: Float32Array.from([0, 4]),
    mapRows: 1,
    mapColumns: 2,
    gridToSlice: [2, 0, 0, 0, 1, 0],
  });
  // The numbers of PyTorch's interpolate(mode='bilinear', align_corners=False).
  expect([...on]).toEqual([0, 1, 3, 4]);
});

test('outside of the map there is no value', () => {
  const on = mapOnSlice({
    ...small(1, 4),
    map: Float32Array.from([7, 7]),
    mapRows: 1,
    mapColumns: 2,
    gridToSlice: [1, 0, 1, 0, 1, 0],
  });
  expect([...on]).toEqual([NaN, 7, 7, NaN]);
});
