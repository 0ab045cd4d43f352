import type { Surface } from './sphere.ts';

// Bound once: inside of jest's sandbox every look-up of a global is slow.
const { ceil, max } = Math;

/** The pixels of a plane z = constant, in the surface's units. */
export interface SectionGrid {
  readonly rows: number;
  readonly columns: number;
  /** x, y and z of the centre of the first pixel. */
  readonly origin: readonly [number, number, number];
  /** From pixel to pixel along x (columns) and y (rows). */
  readonly spacing: readonly [number, number];
}

/**
 * Where a plane cuts through a closed surface: 1 for pixels whose centre is inside, rows × columns, row-major.
 * Where the surface runs through itself, all that it winds around is inside.
 */
export function surfaceSection({ vertices, triangles }: Surface, grid: SectionGrid): Uint8Array<ArrayBuffer> {
  const { rows, columns, origin, spacing } = grid;
  // Turns of the surface that begin at a pixel of a row, from left to right.
  const turns = new Int8Array(rows * (columns + 1));
  for (let t = 0; t < triangles.length; t += 3) {
    const cut = section(vertices, triangles, t, origin[2]);
    if (!cut) continue;
    const [x0, y0, x1, y1] = cut;
    const [first, last] = y0 < y1 ? [y0, y1] : [y1, y0];
    const from = max(ceil((first - origin[1]) / spacing[1]), 0);
    for (let row = from; row < rows; row++) {
      const y = origin[1] + row * spacing[1];
      if (y >= last) break;
      const x = x0 + ((y - y0) / (y1 - y0)) * (x1 - x0);
      const column = max(ceil((x - origin[0]) / spacing[0]), 0);
      if (column < columns) turns[row * (columns + 1) + column] += y1 > y0 ? 1 : -1;
    }
  }
  const mask = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    let winding = 0;
    for (let column = 0; column < columns; column++) {
      winding += turns[row * (columns + 1) + column];
      mask[row * columns + column] = winding === 0 ? 0 : 1;
    }
  }
  return mask;
}

/** The directed segment x0, y0, x1, y1 in which a triangle meets the plane, or undefined. */
function section(
  vertices: Float64Array,
  triangles: Uint32Array,
  triangle: number,
  plane: number,
): [number, number, number, number] | undefined {
  // A vertex in the plane counts as above it: every section is closed.
  const above = (k: number) => vertices[3 * triangles[triangle + k] + 2] >= plane;
  const [a, b, c] = [above(0), above(1), above(2)];
  if (a === b && b === c) return undefined;
  // The vertex that is alone on its side, and the edges that leave and enter it.
  const alone = b === c ? 0 : a === c ? 1 : 2;
  const crossing = (from: number, to: number): [number, number] => {
    const [p, q] = [3 * triangles[triangle + from], 3 * triangles[triangle + to]];
    const share = (plane - vertices[p + 2]) / (vertices[q + 2] - vertices[p + 2]);
    return [
      vertices[p] + share * (vertices[q] - vertices[p]),
      vertices[p + 1] + share * (vertices[q + 1] - vertices[p + 1]),
    ];
  };
  const leaving = crossing(alone, (alone + 1) % 3);
  const entering = crossing(alone, (alone + 2) % 3);
  return above(alone) ? [...leaving, ...entering] : [...entering, ...leaving];
}
