import type { Heatmap } from '../result.ts';
import type { Affine } from '../slice.ts';

const { floor, max, min } = Math;

/** Applies an affine to a point. */
export function transform([a, b, c, d, e, f]: Affine, x: number, y: number): [number, number] {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** The inverse of an affine. Throws where there is none. */
export function inverse([a, b, c, d, e, f]: Affine): Affine {
  const determinant = a * e - b * d;
  if (!Number.isFinite(1 / determinant)) throw new RangeError('gridToSlice cannot be inverted');
  return [e, -b, b * f - c * e, -d, a, c * d - a * f].map(
    (value) => value / determinant,
  ) as unknown as Affine;
}

/**
 * The map on the slice's own grid: rows × columns, row-major, each the bilinear interpolation of the map at the
 * pixel's centre. Beyond the outermost centres of the map its edge is held; outside of the map it is NaN.
 */
export function mapOnSlice({ rows, columns, map, mapRows, mapColumns, gridToSlice }: Heatmap): Float32Array {
  const sliceToGrid = inverse(gridToSlice);
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [x, y] = transform(sliceToGrid, column + 0.5, row + 0.5);
      const inside = x >= 0 && x <= mapColumns && y >= 0 && y <= mapRows;
      values[row * columns + column] = inside ? bilinear(map, mapRows, mapColumns, x, y) : NaN;
    }
  }
  return values;
}

function bilinear(map: Float32Array, rows: number, columns: number, x: number, y: number): number {
  const u = min(max(x - 0.5, 0), columns - 1);
  const v = min(max(y - 0.5, 0), rows - 1);
  const left = floor(u);
  const top = floor(v);
  const right = min(left + 1, columns - 1);
  const bottom = min(top + 1, rows - 1);
  const s = u - left;
  const t = v - top;
  const upper = map[top * columns + left] * (1 - s) + map[top * columns + right] * s;
  const lower = map[bottom * columns + left] * (1 - s) + map[bottom * columns + right] * s;
  return upper * (1 - t) + lower * t;
}
