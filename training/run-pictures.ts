import { join } from 'node:path';
import sharp from 'sharp';
import type { Normalisation } from '../inference/preprocess.ts';
import type { RunRecord } from './run-log.ts';

const WIDTH = 800;
const HEIGHT = 400;
const MARGIN = 30;

/** A step, and the logarithm of a loss. */
type Point = readonly [step: number, loss: number];

/**
 * Draws the losses of a run as `curves.png` in its folder: each step's in grey, the held-out ones in blue, on a
 * logarithmic scale. Of the steps of a column of pixels, the smallest and the largest loss are drawn.
 */
export async function drawCurves(folder: string, records: readonly RunRecord[]): Promise<void> {
  const last = records.reduce((last, { step }) => Math.max(last, step), 1);
  const points = (type: 'step' | 'evaluation') => {
    const all = records.flatMap((record): Point[] =>
      record.type === type ? [[record.step, Math.log10(record.loss)]] : [],
    );
    return extremes(all, (step) => Math.floor((step / last) * (WIDTH - 2 * MARGIN)));
  };
  const [steps, evaluations] = [points('step'), points('evaluation')];
  const all = [...steps, ...evaluations];
  const [low, high] = [Math.min(...all.map(([, loss]) => loss)), Math.max(...all.map(([, loss]) => loss))];
  const place = ([step, loss]: Point) => {
    const x = MARGIN + (step / last) * (WIDTH - 2 * MARGIN);
    const y = HEIGHT - MARGIN - ((loss - low) / (high - low || 1)) * (HEIGHT - 2 * MARGIN);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  };
  const line = (colour: string, of: typeof steps) =>
    `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${of.map(place).join(' ')}"/>`;
  const label = (y: number, loss: number) =>
    `<text x="4" y="${y}" font-size="14" font-family="sans-serif">${(10 ** loss).toPrecision(3)}</text>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}">
    <rect width="100%" height="100%" fill="white"/>${line('#888', steps)}${line('#06c', evaluations)}
    ${label(MARGIN - 10, high)}${label(HEIGHT - 8, low)}</svg>`;
  await sharp(Buffer.from(svg)).png().toFile(join(folder, 'curves.png'));
}

/** Of the points in each column the lowest and the highest, in their order. */
function extremes(points: readonly Point[], column: (step: number) => number): Point[] {
  return [...Map.groupBy(points, ([step]) => column(step)).values()].flatMap((inColumn) => {
    const lowest = inColumn.reduce((a, b) => (b[1] < a[1] ? b : a));
    const highest = inColumn.reduce((a, b) => (b[1] > a[1] ? b : a));
    return [...new Set([lowest, highest])].sort(([a], [b]) => a - b);
  });
}

/** Held-out slices with what the model makes of them. */
export interface Reconstructions {
  readonly count: number;
  /** Side of the grid. */
  readonly side: number;
  /** (count, 3, side, side), normalised. */
  readonly x: Float32Array;
  /** (count, 3, side, side), normalised. */
  readonly reconstruction: Float32Array;
  /** (count, side, side) */
  readonly map: Float32Array;
}

/** Writes a PNG with a row a slice: the slice, its reconstruction, its map from its smallest to its largest value. */
export async function drawReconstructions(
  path: string,
  { count, side, x, reconstruction, map }: Reconstructions,
  { mean, std }: Normalisation,
): Promise<void> {
  const pixels = new Uint8ClampedArray(count * side * 3 * side);
  const [low, high] = map.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Infinity, -Infinity],
  );
  for (let slice = 0; slice < count; slice++) {
    for (let i = 0; i < side * side; i++) {
      const target = (slice * side + Math.floor(i / side)) * 3 * side + (i % side);
      const source = slice * 3 * side * side + i;
      pixels[target] = 255 * (x[source] * std + mean);
      pixels[target + side] = 255 * (reconstruction[source] * std + mean);
      pixels[target + 2 * side] = (255 * (map[slice * side * side + i] - low)) / (high - low || 1);
    }
  }
  await sharp(pixels, { raw: { width: 3 * side, height: count * side, channels: 1 } })
    .png()
    .toFile(path);
}
