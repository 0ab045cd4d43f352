import { taskProfile } from './bundle/profiles.ts';
import { prepare } from './prepare.ts';
import { resize } from './preprocess.ts';
import { bilateralFilter, placeRegion } from './region.ts';

const SIZE = 224;
const [rows, columns] = [90, 120];
const pixels = Uint8Array.from({ length: rows * columns }, (_, i) => 20 + ((i * 31) % 200));
const mask = Uint8Array.from(pixels, (_, i) =>
  i % columns > 30 && i % columns < 71 && i > 20 * columns ? 1 : 0,
);
const masked = pixels.map((value, i) => value * mask[i]);

test('a profile that resizes gives the resized slice, and the affine of its edges', () => {
  const { preprocessing } = taskProfile('chest-xray');
  const slice = { pixels, rows, columns };
  expect(prepare(slice, preprocessing, SIZE)).toEqual({
    pixels: resize(slice, SIZE),
    gridToSlice: [columns / SIZE, 0, 0, 0, rows / SIZE, 0],
  });
});

test('the brain alone: what the mask leaves out is black', () => {
  const { preprocessing } = taskProfile('brain-mri');
  const prepared = prepare({ pixels, rows, columns, mask }, preprocessing, SIZE);
  expect(prepared.pixels).toEqual(resize({ pixels: masked, rows, columns }, SIZE));
  expect(prepared.pixels).not.toEqual(resize({ pixels, rows, columns }, SIZE));
});

test('the liver alone: cut out, placed, smoothed', () => {
  const { preprocessing } = taskProfile('liver-ct');
  const { pixels: prepared, gridToSlice } = prepare({ pixels, rows, columns, mask }, preprocessing, SIZE);
  const placed = placeRegion({ pixels: masked, rows, columns }, SIZE);
  expect(gridToSlice).toEqual([1, 0, 31 - 92, 0, 1, 20 - 77]);
  expect(gridToSlice).toEqual(placed.gridToSlice);
  expect(prepared).toEqual(bilateralFilter(placed.pixels, SIZE, preprocessing.bilateral!));
  expect(prepared).not.toEqual(placed.pixels);
});

test('a mask or pixels that do not fill the slice are refused', () => {
  const { preprocessing } = taskProfile('liver-ct');
  const slice = { pixels, rows, columns };
  expect(() => prepare({ ...slice, mask: new Uint8Array(3) }, preprocessing, SIZE)).toThrow(
    'has a mask of 3',
  );
  expect(() => prepare({ ...slice, rows: 1 }, preprocessing, SIZE)).toThrow('cannot have 10800 pixels');
});
