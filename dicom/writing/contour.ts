import { transform } from './anomaly-map.ts';
import type { Heatmap } from '../result.ts';

/** x along columns, y along rows, in the slice's continuous coordinates (PS3.3 C.18.6.1.2). */
export type Point = readonly [x: number, y: number];

/** A closed outline, without repetition of its first point, and what lies inside of it. */
export interface Contour {
  points: Point[];
  /** In source pixels, holes included. */
  area: number;
  /** Of the anomaly map. */
  maximum: number;
}

/** Regions smaller than this share of the map are specks, not findings: 10 cells of a 224 × 224 map. */
export const SMALLEST_REGION = 1 / 5000;

/** How far a simplified outline may lie from the traced one, in source pixels. */
const TOLERANCE = 0.25;

/**
 * The outer outlines of the regions in which the map exceeds its threshold, in slice coordinates, clipped to
 * the image, the largest first. Holes are not drawn: a POLYLINE cannot express them.
 */
export function contours(heatmap: Heatmap): Contour[] {
  const { rows, columns, map, mapRows, mapColumns, gridToSlice, mapThreshold } = heatmap;
  const smallest = SMALLEST_REGION * mapRows * mapColumns;
  return traceLoops(map, mapRows, mapColumns, mapThreshold)
    .filter((loop) => signedArea(loop) >= smallest)
    .map((loop) => {
      const onSlice = loop.map(([x, y]) => transform(gridToSlice, x, y));
      const points = simplified(clipped(onSlice, columns, rows));
      return { points, area: Math.abs(signedArea(points)), maximum: maximumInside(loop, heatmap) };
    })
    .filter(({ points, area }) => points.length >= 3 && area > 0)
    .sort((a, b) => b.area - a.area);
}

/** Sides of a cell between four neighbouring samples. */
const [TOP, RIGHT, BOTTOM, LEFT] = [0, 1, 2, 3];

/**
 * Marching squares: per cell, the sides where the outline enters and leaves, with the high samples to its
 * right, so that outer outlines run clockwise on the screen. Index: 1 top left, 2 top right, 4 bottom right,
 * 8 bottom left are high. The two saddles are for a low centre; a high one takes the other pairing.
 */
const SEGMENTS: Record<number, readonly (readonly [number, number])[]> = {
  1: [[TOP, LEFT]],
  2: [[RIGHT, TOP]],
  3: [[RIGHT, LEFT]],
  4: [[BOTTOM, RIGHT]],
  5: [
    [TOP, LEFT],
    [BOTTOM, RIGHT],
  ],
  6: [[BOTTOM, TOP]],
  7: [[BOTTOM, LEFT]],
  8: [[LEFT, BOTTOM]],
  9: [[TOP, BOTTOM]],
  10: [
    [RIGHT, TOP],
    [LEFT, BOTTOM],
  ],
  11: [[RIGHT, BOTTOM]],
  12: [[LEFT, RIGHT]],
  13: [[TOP, RIGHT]],
  14: [[LEFT, TOP]],
};
const HIGH_SADDLES: typeof SEGMENTS = {
  5: [
    [TOP, RIGHT],
    [BOTTOM, LEFT],
  ],
  10: [
    [LEFT, TOP],
    [RIGHT, BOTTOM],
  ],
};

/**
 * All closed outlines at `level`, in grid coordinates (samples lie at cell centres). A frame of low samples
 * around the map closes those that reach its edge; there they run along the edge itself.
 */
function traceLoops(map: Float32Array, rows: number, columns: number, level: number): Point[][] {
  const outside = (row: number, column: number) => row < 0 || column < 0 || row >= rows || column >= columns;
  const value = (row: number, column: number) =>
    outside(row, column) ? -Infinity : map[row * columns + column];
  // A crossing lies between a sample and its right (even key) or lower (odd key) neighbour.
  const width = columns + 2;
  const key = (row: number, column: number, lower: number) => 2 * ((row + 1) * width + column + 1) + lower;
  const crossing = (crossingKey: number): Point => {
    const sample = crossingKey >> 1;
    const row = Math.floor(sample / width) - 1;
    const column = (sample % width) - 1;
    const [downwards, rightwards] = crossingKey & 1 ? [1, 0] : [0, 1];
    const here = value(row, column);
    const there = value(row + downwards, column + rightwards);
    const share = Number.isFinite(here - there) ? (level - here) / (there - here) : 0.5;
    return [column + 0.5 + rightwards * share, row + 0.5 + downwards * share];
  };

  const next = new Map<number, number>();
  for (let row = -1; row < rows; row++) {
    for (let column = -1; column < columns; column++) {
      const corners = [
        value(row, column),
        value(row, column + 1),
        value(row + 1, column + 1),
        value(row + 1, column),
      ];
      const index = corners.reduce((sum, corner, bit) => sum + (corner > level ? 1 << bit : 0), 0);
      const centreIsHigh = corners.reduce((sum, corner) => sum + corner, 0) / 4 > level;
      const segments = (centreIsHigh && HIGH_SADDLES[index]) || SEGMENTS[index] || [];
      const sides = [
        key(row, column, 0),
        key(row, column + 1, 1),
        key(row + 1, column, 0),
        key(row, column, 1),
      ];
      for (const [from, to] of segments) next.set(sides[from], sides[to]);
    }
  }

  const loops: Point[][] = [];
  for (const start of next.keys()) {
    const loop: Point[] = [];
    for (let at = start, to = next.get(at); to !== undefined; at = to, to = next.get(at)) {
      loop.push(crossing(at));
      next.delete(at);
    }
    if (loop.length > 0) loops.push(loop);
  }
  return loops;
}

/** Positive where the outline runs clockwise on the screen. */
function signedArea(points: readonly Point[]): number {
  return points.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = points[(index + 1) % points.length];
    return sum + (x * nextY - nextX * y) / 2;
  }, 0);
}

function maximumInside(loop: readonly Point[], { map, mapRows, mapColumns }: Heatmap): number {
  const bounds = (axis: 0 | 1, size: number) => {
    const least = loop.reduce((value, point) => Math.min(value, point[axis]), size);
    const greatest = loop.reduce((value, point) => Math.max(value, point[axis]), 0);
    return [Math.floor(least), Math.ceil(greatest)];
  };
  const [left, right] = bounds(0, mapColumns);
  const [top, bottom] = bounds(1, mapRows);
  let maximum = -Infinity;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const value = map[row * mapColumns + column];
      if (value > maximum && isInside(loop, column + 0.5, row + 0.5)) maximum = value;
    }
  }
  return maximum;
}

/** Even-odd rule. */
function isInside(points: readonly Point[], x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [x1, y1] = points[i];
    const [x2, y2] = points[j];
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) inside = !inside;
  }
  return inside;
}

/** Sutherland and Hodgman's clipping of an outline to [0, columns] × [0, rows]. */
function clipped(points: Point[], columns: number, rows: number): Point[] {
  const bounds = [
    { axis: 0, limit: 0, sign: 1 },
    { axis: 0, limit: columns, sign: -1 },
    { axis: 1, limit: 0, sign: 1 },
    { axis: 1, limit: rows, sign: -1 },
  ];
  let result = points;
  for (const { axis, limit, sign } of bounds) {
    const distance = (point: Point) => sign * (point[axis] - limit);
    result = result.flatMap((point, index) => {
      const previous = result.at(index - 1)!;
      const [before, here] = [distance(previous), distance(point)];
      const kept = here >= 0 ? [point] : [];
      if (before >= 0 === here >= 0) return kept;
      const share = before / (before - here);
      const cut = previous.map((value, i) =>
        i === axis ? limit : value + share * (point[i] - value),
      ) as unknown as Point;
      return [cut, ...kept];
    });
  }
  return result;
}

/** Douglas and Peucker's simplification of a closed outline, cut at its first point and the one farthest off. */
function simplified(points: Point[]): Point[] {
  if (points.length < 4) return points;
  const [x0, y0] = points[0];
  const distances = points.map(([x, y]) => (x - x0) ** 2 + (y - y0) ** 2);
  const farthest = distances.indexOf(distances.reduce((a, b) => Math.max(a, b)));
  const there = simplifiedLine(points.slice(0, farthest + 1));
  const back = simplifiedLine([...points.slice(farthest), points[0]]);
  return [...there.slice(0, -1), ...back.slice(0, -1)];
}

function simplifiedLine(points: Point[]): Point[] {
  const first = points[0];
  const last = points.at(-1)!;
  let farthest = 0;
  let greatest = TOLERANCE;
  for (let index = 1; index < points.length - 1; index++) {
    const distance = distanceToSegment(points[index], first, last);
    if (distance > greatest) [farthest, greatest] = [index, distance];
  }
  if (farthest === 0) return points.length > 1 ? [first, last] : points;
  return [
    ...simplifiedLine(points.slice(0, farthest + 1)).slice(0, -1),
    ...simplifiedLine(points.slice(farthest)),
  ];
}

/** Distance of a point from the segment between `a` and `b`. */
export function distanceToSegment([x, y]: Point, [ax, ay]: Point, [bx, by]: Point): number {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const share = length === 0 ? 0 : Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length));
  return Math.sqrt((x - ax - share * dx) ** 2 + (y - ay - share * dy) ** 2);
}
