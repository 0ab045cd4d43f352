import type { InputSlice } from '../inference/preprocess.ts';

// Bound once: inside of jest's sandbox every look-up of a global is slow.
const { cos, floor, hypot, max, min, PI, round, sin, sqrt } = Math;

/** Uniform numbers in [0, 1). */
type Random = () => number;

/**
 * What can be wrong with a slice:
 * - `intensity`: a brighter or darker spot
 * - `deformation`: tissue pushed away from a point, or drawn to it
 * - `texture`: grain that the tissue does not have
 * - `missing`: a structure replaced by what surrounds it
 * - `misplaced`: a piece of another place (CutPaste: Li et al., CVPR 2021)
 */
export const anomalyKinds = ['intensity', 'deformation', 'texture', 'missing', 'misplaced'] as const;

export type AnomalyKind = (typeof anomalyKinds)[number];

/** An ellipse in a slice, in pixels. */
export interface AnomalyPlace {
  readonly x: number;
  readonly y: number;
  readonly semiAxes: readonly [number, number];
  /** Of the first axis, in radians. */
  readonly angle: number;
}

/** Brighter than this share of the brightest is no background. */
const FOREGROUND = 0.1;
/** Semi-axes as shares of the square root of the foreground's area. */
const SEMI_AXES = [0.08, 0.16] as const;
const ATTEMPTS = 50;

/** A random place for an anomaly within what is not background; undefined in a slice that shows nothing. */
export function anomalyPlace({ pixels, columns }: InputSlice, random: Random): AnomalyPlace | undefined {
  const least = max(1, FOREGROUND * pixels.reduce((brightest, value) => max(brightest, value), 0));
  const foreground: number[] = [];
  for (let i = 0; i < pixels.length; i++) if (pixels[i] >= least) foreground.push(i);
  if (foreground.length === 0) return undefined;
  const unit = sqrt(foreground.length);
  const axis = () => max(2, unit * (SEMI_AXES[0] + (SEMI_AXES[1] - SEMI_AXES[0]) * random()));
  const shape = { semiAxes: [axis(), axis()] as const, angle: PI * random() };
  for (let attempt = 0; ; attempt++) {
    const at = foreground[floor(random() * foreground.length)];
    const place = { x: at % columns, y: floor(at / columns), ...shape };
    if (attempt === ATTEMPTS || edge(place).every(([x, y]) => pixels[y * columns + x] >= least)) return place;
  }
}

/** Four points on the rim. */
function edge({ x, y, semiAxes, angle }: AnomalyPlace): [number, number][] {
  return [0, 1, 2, 3].map((quarter) => {
    const direction = angle + (quarter * PI) / 2;
    const length = semiAxes[quarter % 2];
    return [round(x + length * cos(direction)), round(y + length * sin(direction))];
  });
}

/** A slice with an anomaly. */
export interface AnomalousSlice extends InputSlice {
  /** 1 where the anomaly is, row by row. */
  readonly truth: Uint8Array;
}

/** The slice with an anomaly of this kind at a place; what `random` draws beyond the place is its strength and look. */
export function withAnomaly(
  slice: InputSlice,
  kind: AnomalyKind,
  place: AnomalyPlace,
  random: Random,
): AnomalousSlice {
  const { rows, columns } = slice;
  const truth = new Uint8Array(rows * columns);
  const pixels = slice.pixels.slice();
  const change = changes[kind](slice, place, random);
  const { x: cx, y: cy, semiAxes } = place;
  const reach = max(...semiAxes);
  for (let y = max(0, floor(cy - reach)); y <= min(rows - 1, cy + reach + 1); y++) {
    for (let x = max(0, floor(cx - reach)); x <= min(columns - 1, cx + reach + 1); x++) {
      const distance = distanceFrom(place, x, y);
      if (distance >= 1) continue;
      const i = y * columns + x;
      truth[i] = 1;
      pixels[i] = min(255, max(0, round(change(x, y, distance))));
    }
  }
  return { ...slice, pixels, truth };
}

/** From the middle of the ellipse, of which the rim is at 1. */
function distanceFrom({ x: cx, y: cy, semiAxes: [a, b], angle }: AnomalyPlace, x: number, y: number): number {
  const [dx, dy] = [x - cx, y - cy];
  return hypot((dx * cos(angle) + dy * sin(angle)) / a, (dy * cos(angle) - dx * sin(angle)) / b);
}

/** 1 within, falling to 0 over the outer third. */
function weight(distance: number): number {
  const t = min(1, 3 * (1 - distance));
  return t * t * (3 - 2 * t);
}

/** The new value of a pixel at this distance from the middle. */
type Change = (x: number, y: number, distance: number) => number;

const changes: Record<AnomalyKind, (slice: InputSlice, place: AnomalyPlace, random: Random) => Change> = {
  intensity(slice, place, random) {
    const strength = contrast(slice) * (0.4 + 0.4 * random());
    const inside = at(slice, place.x, place.y);
    // Away from the end of the scale that is near.
    const sign = inside > 255 - strength ? -1 : inside < strength ? 1 : random() < 0.5 ? -1 : 1;
    return (x, y, distance) => at(slice, x, y) + sign * strength * weight(distance);
  },
  deformation(slice, place, random) {
    const outwards = random() < 0.5;
    // Along the ray from the middle: distance d shows what was at d^power.
    const power = outwards ? 1.8 : 1 / 1.8;
    return (x, y, distance) => {
      const scale = distance === 0 ? 0 : distance ** (power - 1);
      return at(slice, place.x + (x - place.x) * scale, place.y + (y - place.y) * scale);
    };
  },
  texture(slice, place, random) {
    const strength = contrast(slice) * (0.4 + 0.3 * random());
    const cell = max(1, min(...place.semiAxes) / 5);
    const side = 2 * Math.ceil((max(...place.semiAxes) + 1) / cell) + 2;
    const grain = Float64Array.from({ length: side * side }, () => 2 * random() - 1);
    return (x, y, distance) => {
      const column = floor((x - place.x) / cell) + side / 2;
      const row = floor((y - place.y) / cell) + side / 2;
      return at(slice, x, y) + strength * grain[row * side + column] * weight(distance);
    };
  },
  missing(slice, place) {
    const rim = ring(place).map(([x, y]) => ({ x, y, value: at(slice, x, y) }));
    return (x, y, distance) => {
      // Inverse-distance weighting of the rim.
      let [sum, weights] = [0, 0];
      for (const point of rim) {
        const w = 1 / ((x - point.x) ** 2 + (y - point.y) ** 2 + 1e-6);
        sum += w * point.value;
        weights += w;
      }
      const share = weight(distance);
      return (1 - share) * at(slice, x, y) + (share * sum) / weights;
    };
  },
  misplaced(slice, place, random) {
    const reach = max(...place.semiAxes);
    const source = farPlace(slice, place, 2 * reach, random);
    const angle = 2 * PI * random();
    return (x, y, distance) => {
      const [dx, dy] = [x - place.x, y - place.y];
      const u = source.x + dx * cos(angle) - dy * sin(angle);
      const v = source.y + dx * sin(angle) + dy * cos(angle);
      const share = weight(distance);
      return (1 - share) * at(slice, x, y) + share * at(slice, u, v);
    };
  },
};

/** Points on the rim of an ellipse. */
function ring({ x, y, semiAxes: [a, b], angle }: AnomalyPlace): [number, number][] {
  return Array.from({ length: 24 }, (_, i) => {
    const t = (2 * PI * i) / 24;
    const [u, v] = [a * cos(t), b * sin(t)];
    return [x + u * cos(angle) - v * sin(angle), y + u * sin(angle) + v * cos(angle)];
  });
}

/** Another place: of several drawn, the first that is far enough away, or the one that is farthest. */
function farPlace(slice: InputSlice, from: AnomalyPlace, least: number, random: Random): AnomalyPlace {
  let [farthest, distance] = [from, -1];
  for (let attempt = 0; attempt < ATTEMPTS && distance < least; attempt++) {
    const place = anomalyPlace(slice, random) ?? from;
    const away = hypot(place.x - from.x, place.y - from.y);
    if (away > distance) [farthest, distance] = [place, away];
  }
  return farthest;
}

/** Difference of the darkest and the brightest value. */
function contrast({ pixels }: InputSlice): number {
  const [low, high] = pixels.reduce<[number, number]>(
    ([low, high], value) => [min(low, value), max(high, value)],
    [255, 0],
  );
  return high - low;
}

/** The value at a point between pixels, bilinear; beyond the border the border's. */
function at({ pixels, rows, columns }: InputSlice, x: number, y: number): number {
  const [u, v] = [min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)];
  const [left, top] = [floor(u), floor(v)];
  const [right, bottom] = [min(left + 1, columns - 1), min(top + 1, rows - 1)];
  const [s, t] = [u - left, v - top];
  const above = (1 - s) * pixels[top * columns + left] + s * pixels[top * columns + right];
  const below = (1 - s) * pixels[bottom * columns + left] + s * pixels[bottom * columns + right];
  return (1 - t) * above + t * below;
}
