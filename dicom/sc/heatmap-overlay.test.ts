import { scoredProjection, scoredVolume } from '../writing/scored-study.fixture.ts';
import { heatmapOverlay } from './heatmap-overlay.ts';
import { INFERNO } from './inferno.generated.ts';

const { slices, heatmaps } = scoredVolume('CT', '1.2.840.10008.5.1.4.1.1.2', 256, 256);
const { score } = slices[1];
const heatmap = heatmaps[1];
const { pixels: source } = heatmap;
const at = (image: { pixels: Uint8Array }, row: number, column: number) => [
  ...image.pixels.subarray(3 * (row * 256 + column), 3 * (row * 256 + column) + 3),
];

test('where the map is low, the slice shows as it is', () => {
  const image = heatmapOverlay(heatmap, score, 'bundle');
  for (const [row, column] of [
    [60, 60],
    [200, 60],
    [60, 130],
  ]) {
    const grey = source[row * 256 + column];
    expect(at(image, row, column)).toEqual([grey, grey, grey]);
  }
});

test('where it is twice its threshold or more, half the end of the colour map lies over the slice', () => {
  const image = heatmapOverlay(heatmap, score, 'bundle');
  const [row, column] = [Math.round((25 / 56) * 256), Math.round((30 / 56) * 256)];
  const grey = source[row * 256 + column];
  const end = [...INFERNO.subarray(3 * 255)];
  expect(at(image, row, column)).toEqual(end.map((channel) => Math.round(grey + 0.5 * (channel - grey))));
});

test('where it is at half of its threshold, it shows half as much as at three quarters; at a quarter it does not', () => {
  const level = (share: number) => ({
    ...heatmap,
    map: new Float32Array(heatmap.map.length).fill(share * heatmap.mapThreshold),
  });
  const [row, column] = [60, 60];
  const grey = source[row * 256 + column];
  for (const [share, step, opacity] of [
    [0.5, 64, 0.25],
    [0.75, 96, 0.5],
  ]) {
    const inferno = [...INFERNO.subarray(3 * step, 3 * (step + 1))];
    const drawn = at(heatmapOverlay(level(share), score, 'bundle'), row, column);
    expect(drawn).toEqual(inferno.map((channel) => Math.round(grey + opacity * (channel - grey))));
  }
  expect(at(heatmapOverlay(level(0.25), score, 'bundle'), row, column)).toEqual([grey, grey, grey]);
});

test('the colour map is matplotlib’s: known entries', () => {
  // matplotlib.colormaps['inferno'](i, bytes=True)
  expect([...INFERNO.subarray(0, 3)]).toEqual([0, 0, 4]);
  expect([...INFERNO.subarray(3 * 128, 3 * 129)]).toEqual([188, 55, 84]);
  expect([...INFERNO.subarray(3 * 255)]).toEqual([252, 255, 164]);
});

test('the picture says that it is not for diagnostic use, and changes with the score and the title', () => {
  const blank = { ...heatmap, map: new Float32Array(heatmap.map.length) };
  const picture = (title: string, shown = score) => Buffer.from(heatmapOverlay(blank, shown, title).pixels);
  const amber = (row: number) => {
    const line = picture('a').subarray(3 * 256 * row, 3 * 256 * (row + 1));
    return line.includes(Buffer.from([255, 200, 60]));
  };
  expect([...Array(20).keys()].some(amber)).toBe(true);
  expect(picture('a').equals(picture('b'))).toBe(false);
  expect(picture('a').equals(picture('a', { ...score, percentile: 42 }))).toBe(false);
});

test('every size keeps its rows and columns', () => {
  const [projection] = scoredProjection().heatmaps;
  for (const [rows, columns] of [
    [24, 44],
    [64, 64],
    [96, 128],
    [1500, 1000],
  ]) {
    const image = heatmapOverlay(
      { ...projection, rows, columns, pixels: new Uint8Array(rows * columns) },
      score,
      'A very long title of a bundle '.repeat(9) + '(UNTRAINED)',
    );
    expect([image.rows, image.columns, image.pixels.length]).toEqual([rows, columns, 3 * rows * columns]);
  }
});
