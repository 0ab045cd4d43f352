import { prepare } from '../../inference/prepare.ts';
import { MemorySource } from '../reading/byte-source.ts';
import { readInstance, type Instance } from '../reading/part10.ts';
import { decodeFrame } from '../decoding/frame.ts';
import type { Heatmap, ResultObject, ScoredSlice } from '../result.ts';
import { mapOnSlice } from './anomaly-map.ts';
import { contours } from './contour.ts';
import { parametricMap, parametricMapFrame } from '../pm/parametric-map.ts';
import { heatmapOverlay } from '../sc/heatmap-overlay.ts';
import { secondaryCapture } from '../sc/secondary-capture.ts';
import { maskAboveThreshold } from '../seg/bit-mask.ts';
import { segmentation } from '../seg/segmentation.ts';
import { SOURCES, type ScoredStudy } from './scored-study.fixture.ts';

/** Of the model. */
const GRID = 56;
const THRESHOLD = 0.5;
// Globals are slow in jest, and this file walks over every pixel.
const { floor } = Math;

type Point = readonly [x: number, y: number];

/** A marker image: black, with a white rectangle [left, right) × [top, bottom). */
interface Marker {
  rows: number;
  columns: number;
  left: number;
  right: number;
  top: number;
  bottom: number;
  /** How the slice came onto the model's grid; resized if left out. */
  placement?: 'region';
}

const MARKERS: Record<string, Marker> = {
  'a square slice': { rows: 128, columns: 128, left: 32, right: 56, top: 80, bottom: 104 },
  'a wide slice': { rows: 112, columns: 280, left: 190, right: 240, top: 20, bottom: 44 },
  'a tall slice': { rows: 301, columns: 97, left: 20, right: 41, top: 201, bottom: 262 },
  'a slice smaller than the grid': { rows: 48, columns: 60, left: 12, right: 24, top: 24, bottom: 36 },
  'an organ on a canvas': {
    ...{ rows: 128, columns: 160, left: 100, right: 131, top: 17, bottom: 57 },
    placement: 'region',
  },
  'an organ that was shrunk onto the canvas': {
    ...{ rows: 256, columns: 256, left: 40, right: 208, top: 100, bottom: 192 },
    placement: 'region',
  },
};

/** The marker's own map, as a model would give it that answers each input pixel with its brightness. */
function heatmapOf({ rows, columns, left, right, top, bottom, placement }: Marker): Heatmap {
  const pixels = Uint8Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [floor(i / columns), i % columns];
    return column >= left && column < right && row >= top && row < bottom ? 255 : 0;
  });
  const slice = { pixels, rows, columns };
  const preprocessing = { mean: 0, std: 1, ...(placement && { placement }) };
  const { pixels: prepared, gridToSlice } = prepare(slice, preprocessing, GRID);
  return {
    ...slice,
    map: Float32Array.from(prepared, (byte) => byte / 255),
    mapRows: GRID,
    mapColumns: GRID,
    gridToSlice,
    mapThreshold: THRESHOLD,
  };
}

/** A study of three slices, the second of which is the marker. */
function markedStudy(marker: Marker): ScoredStudy {
  const study = SOURCES['MR volume']();
  const { rows, columns } = marker;
  const drawn = heatmapOf(marker);
  const heatmaps = study.slices.map((_, i) => (i === 1 ? drawn : { ...drawn, map: drawn.map.map(() => 0) }));
  const slices = study.slices.map((scored, i): ScoredSlice => ({
    ...scored,
    slice: { ...scored.slice, rows, columns },
    regions: contours(heatmaps[i]),
  }));
  return { ...study, slices, heatmaps, mapThreshold: THRESHOLD };
}

const reopen = ({ bytes }: Pick<ResultObject, 'bytes'>): Instance => readInstance(new MemorySource(bytes));

/** Centre of gravity of values over a grid, in the grid's continuous coordinates. */
function centroid(values: ArrayLike<number>, columns: number): Point {
  let [sum, x, y] = [0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    sum += values[i];
    x += values[i] * ((i % columns) + 0.5);
    y += values[i] * (floor(i / columns) + 0.5);
  }
  return [x / sum, y / sum];
}

function expectNear(point: Point, marker: Marker, tolerance: number): void {
  const centre = [(marker.left + marker.right) / 2, (marker.top + marker.bottom) / 2];
  expect(Math.hypot(point[0] - centre[0], point[1] - centre[1])).toBeLessThan(tolerance);
}

describe.each(Object.entries(MARKERS))('the way back from the model to %s', (_name, marker) => {
  const study = markedStudy(marker);
  const { columns, rows } = marker;
  const size = rows * columns;
  // A cell of the grid, in pixels of the slice: what interpolation may smear an edge by.
  const cell = Math.max(1, columns / GRID, rows / GRID);
  const area = (marker.right - marker.left) * (marker.bottom - marker.top);
  const perimeter = 2 * (marker.right - marker.left + marker.bottom - marker.top);

  test('the parametric map has its centre where the marker is', async () => {
    const { head } = parametricMap(study);
    // Outside of the map there is no anomaly.
    const frames = study.heatmaps.map((heatmap) => mapOnSlice(heatmap).map((value) => 100 * (value || 0)));
    const bytes = Buffer.concat([head, ...frames.map((frame) => parametricMapFrame(frame))]);
    const frame = await decodeFrame(reopen({ bytes }), 2);
    const values = new Float32Array(frame.bytes.buffer, frame.bytes.byteOffset, size);
    expectNear(centroid(values, columns), marker, 0.1);
  });

  test('the segment is the marker, to a part of a cell along its edge', () => {
    const masks = study.heatmaps.map((heatmap) => maskAboveThreshold(heatmap));
    const segment = bits(reopen(segmentation(study, masks)), size);
    expectNear(centroid(segment, columns), marker, cell / 2);
    const covered = segment.reduce((sum, bit) => sum + bit, 0);
    expect(Math.abs(covered - area)).toBeLessThan((perimeter * cell) / 2);
  });

  test('the outline is around the marker', () => {
    const [region, ...others] = study.slices[1].regions;
    expect(others).toEqual([]);
    expect(Math.abs(region.area - area)).toBeLessThan((perimeter * cell) / 2);
    const bounds = [0, 1].map((axis) => {
      const values = region.points.map((point) => point[axis]);
      return (Math.min(...values) + Math.max(...values)) / 2;
    });
    expectNear(bounds as unknown as Point, marker, cell / 2);
  });

  test('the picture is coloured where the marker is', async () => {
    const [scored, heatmap] = [study.slices[1], study.heatmaps[1]];
    const grey = { ...heatmap, pixels: heatmap.pixels.map(() => 0) };
    const { bytes } = secondaryCapture(study, scored, 1, grey);
    const { bytes: data } = await decodeFrame(reopen({ bytes }), 1);
    // What the map adds to the same picture without it.
    const plain = heatmapOverlay({ ...grey, map: grey.map.map(() => 0) }, scored.score, study.bundleTitle);
    const coloured = Uint8Array.from({ length: size }, (_, i) =>
      Number([0, 1, 2].some((channel) => data[3 * i + channel] !== plain.pixels[3 * i + channel])),
    );
    expectNear(centroid(coloured, columns), marker, cell);
  });
});

/** The bits of the first frame of a binary segmentation. */
function bits({ pixelData, source }: Instance, size: number): Uint8Array {
  const bytes = source.read(pixelData!.offset, pixelData!.length);
  return Uint8Array.from({ length: size }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1);
}
