import { mapOnSlice } from '../writing/anomaly-map.ts';
import { checkHeatmap } from '../writing/check-result.ts';
import { contours, distanceToSegment, type Point } from '../writing/contour.ts';
import type { Heatmap, ScoreValues } from '../result.ts';
import { withoutMiddle } from '../writing/without-middle.ts';
import { drawText } from './bitmap-text.ts';
import { type BitmapFont, FIXED_10X20, FIXED_4X6, FIXED_5X8, FIXED_6X13 } from './fixed-fonts.generated.ts';
import { INFERNO } from './inferno.generated.ts';
import { blend, type Rgb, type RgbImage } from './rgb-image.ts';

const WHITE: Rgb = [255, 255, 255];
const AMBER: Rgb = [255, 200, 60];
/** Far from every colour of the map and from grey. */
const CYAN: Rgb = [90, 235, 255];

/** The colour scale runs from 0 to this multiple of the map's threshold, so pictures can be compared. */
export const SCALE_END = 2;
/**
 * Below this share of the scale (a quarter of the threshold) nothing is drawn over the slice. What stands out without
 * reaching the threshold is seen too: the map has its greatest opacity from three quarters of it on, and its colours
 * and the outlines tell the rest.
 */
export const TRANSPARENT_BELOW = 0.125;
export const OPAQUE_FROM = 0.375;
export const GREATEST_OPACITY = 0.5;
/** Share of the rows that text may take. */
const TEXT_SHARE = 0.36;

/** Pixels that a picture needs at least to carry the notice legibly. */
export const SMALLEST_PICTURE = { columns: 44, rows: 24 } as const;

/**
 * The picture of a scored slice, as the Secondary Capture holds it: the slice in grey at its own rows and
 * columns, the anomaly map over it in colour (faint values are transparent), outlines of the regions
 * above the map's threshold, a colour scale, the slice's score, the bundle's title and "NOT FOR DIAGNOSTIC
 * USE". Small slices carry what fits; the notice and the percentile always.
 *
 * Throws where the slice is malformed or too small to carry the notice legibly (`SMALLEST_PICTURE`).
 */
export function heatmapOverlay(heatmap: Heatmap, score: ScoreValues, bundleTitle: string): RgbImage {
  const { rows, columns, pixels } = heatmap;
  checkHeatmap(heatmap);
  if (columns < SMALLEST_PICTURE.columns || rows < SMALLEST_PICTURE.rows) {
    throw new RangeError(`${columns} × ${rows} pixels cannot carry the notice legibly`);
  }
  const image = { rows, columns, pixels: new Uint8Array(3 * rows * columns) };
  pixels.forEach((grey, index) => image.pixels.fill(grey, 3 * index, 3 * index + 3));
  drawMap(image, heatmap);
  for (const { points } of contours(heatmap)) drawOutline(image, points);
  drawScale(image, heatmap.mapThreshold);
  drawNotes(image, score, bundleTitle);
  return image;
}

function drawMap(image: RgbImage, heatmap: Heatmap): void {
  mapOnSlice(heatmap).forEach((value, index) => {
    const strength = Math.min(1, value / (SCALE_END * heatmap.mapThreshold));
    const rise = (strength - TRANSPARENT_BELOW) / (OPAQUE_FROM - TRANSPARENT_BELOW);
    const opacity = GREATEST_OPACITY * Math.min(1, rise);
    // NaN, outside of the map, is not above zero either.
    if (!(opacity > 0)) return;
    blend(image, Math.floor(index / image.columns), index % image.columns, colourAt(strength), opacity);
  });
}

/** `strength` in [0, 1]. */
function colourAt(strength: number): Rgb {
  const offset = 3 * Math.round(255 * strength);
  return [INFERNO[offset], INFERNO[offset + 1], INFERNO[offset + 2]];
}

/** An antialiased closed line, a pixel wide at 256 rows or columns and wider in larger pictures. */
function drawOutline(image: RgbImage, points: readonly Point[]): void {
  const radius = Math.max(1, Math.min(image.rows, image.columns) / 400) / 2;
  const coverage = new Map<number, number>();
  points.forEach((from, index) => {
    const to = points[(index + 1) % points.length];
    const [left, right] = [Math.min(from[0], to[0]), Math.max(from[0], to[0])];
    const [top, bottom] = [Math.min(from[1], to[1]), Math.max(from[1], to[1])];
    for (let row = Math.floor(top - radius - 1); row <= bottom + radius + 1; row++) {
      for (let column = Math.floor(left - radius - 1); column <= right + radius + 1; column++) {
        if (row < 0 || column < 0 || row >= image.rows || column >= image.columns) continue;
        const distance = distanceToSegment([column + 0.5, row + 0.5], from, to);
        const covered = Math.min(1, radius + 0.5 - distance);
        const pixel = row * image.columns + column;
        if (covered > (coverage.get(pixel) ?? 0)) coverage.set(pixel, covered);
      }
    }
  });
  for (const [pixel, covered] of coverage) {
    blend(image, Math.floor(pixel / image.columns), pixel % image.columns, CYAN, covered);
  }
}

interface Lettering {
  font: BitmapFont;
  scale: number;
  /** Of a character, in pixels of the picture. */
  width: number;
  height: number;
  margin: number;
}

function lettering({ rows, columns }: RgbImage): Lettering {
  const side = Math.min(rows, columns);
  const font = side < 90 ? FIXED_4X6 : side < 200 ? FIXED_5X8 : side < 700 ? FIXED_6X13 : FIXED_10X20;
  const scale = Math.max(1, Math.floor(side / 700));
  return {
    font,
    scale,
    width: font.width * scale,
    height: font.height * scale,
    margin: Math.max(1, Math.round(side / 64)),
  };
}

/** A vertical colour bar at the right edge with its ends and, as a cyan tick, the threshold. */
function drawScale(image: RgbImage, threshold: number): void {
  const { font, scale, width, height, margin } = lettering(image);
  const barWidth = Math.max(3, Math.round(Math.min(image.rows, image.columns) / 50));
  const barHeight = Math.round(image.rows * 0.4);
  const top = Math.round((image.rows - barHeight) / 2);
  const left = image.columns - margin - barWidth;
  const frame = Math.max(1, scale);
  for (let row = top - frame; row < top + barHeight + frame; row++) {
    for (let column = left - frame; column < left + barWidth + frame; column++) {
      const inside = row >= top && row < top + barHeight && column >= left && column < left + barWidth;
      const strength = 1 - (row - top) / (barHeight - 1);
      blend(image, row, column, inside ? colourAt(strength) : [110, 110, 110], 1);
    }
  }
  const middle = top + Math.round((1 - 1 / SCALE_END) * (barHeight - 1));
  for (let row = middle - scale + 1; row < middle + Math.max(1, scale); row++) {
    for (let column = left - 2 * frame; column < left + barWidth + frame; column++) {
      blend(image, row, column, CYAN, 1);
    }
  }
  // Labels would leave a small slice no room for its anatomy.
  if (image.columns < 24 * width || barHeight < 4 * height) return;
  const label = (row: number, text: string, colour: Rgb) => {
    const column = left - 3 * frame - text.length * width;
    drawText(image, font, scale, row - Math.round(height / 2), column, text, colour);
  };
  label(top, `>=${significant(SCALE_END * threshold)}`, WHITE);
  label(middle, significant(threshold), CYAN);
  label(top + barHeight, '0', WHITE);
}

/** The notice and the title above, the score below; the most important lines first where room is short. */
function drawNotes(image: RgbImage, score: ScoreValues, bundleTitle: string): void {
  const { font, scale, width, height, margin } = lettering(image);
  const perLine = Math.floor((image.columns - 2 * margin) / width);
  const notice = ['NOT FOR DIAGNOSTIC USE', 'NOT FOR|DIAGNOSTIC USE', 'NOT FOR|DIAGNOSTIC|USE']
    .map((text) => text.split('|'))
    .find((lines) => lines.every((line) => line.length <= perLine))!;

  // Cut, not rounded: 99.97 is not the 100th percentile.
  const percentile = (Math.floor(score.percentile * 10) / 10).toFixed(1);
  const comparison = `${significant(score.rawScore)} ${score.rawScore > score.threshold ? '>' : '<='} ${significant(score.threshold)}`;
  const fitting = (...texts: string[]) => texts.find((text) => text.length <= perLine);
  const lines = [
    fitting(
      `Slice percentile ${percentile}, ${score.flagged ? 'FLAGGED' : 'not flagged'}`,
      `P ${percentile} ${score.flagged ? 'FLAGGED' : 'not flagged'}`,
      `P${percentile} ${score.flagged ? 'FLAG' : 'no flag'}`,
      `P${percentile}`,
    )!,
    fitting(
      `Slice score ${significant(score.rawScore)} (threshold ${significant(score.threshold)})`,
      `Score ${comparison}`,
      comparison,
    ),
  ];
  const room = Math.floor((image.rows * TEXT_SHARE) / height) - notice.length;
  const below = lines.filter((line) => line !== undefined).slice(0, Math.max(1, room));
  const title = withoutMiddle(bundleTitle, perLine);
  const above = title !== undefined && room > below.length ? [title] : [];

  const draw = (line: string, row: number, colour: Rgb) => {
    drawText(image, font, scale, row, margin, line, colour);
  };
  notice.forEach((line, index) => {
    draw(line, margin + index * height, AMBER);
  });
  above.forEach((line, index) => {
    draw(line, margin + (notice.length + index) * height, WHITE);
  });
  below.forEach((line, index) => {
    draw(line, image.rows - margin - (below.length - index) * height, score.flagged ? AMBER : WHITE);
  });
}

/** Three significant digits. */
function significant(value: number): string {
  return String(Number(value.toPrecision(3)));
}
