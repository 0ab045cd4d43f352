import type { Manifest } from './bundle/schema.ts';
import { gridToSlice, resize } from './preprocess.ts';
import type { InputSlice } from './preprocess.ts';
import { bilateralFilter, placeRegion } from './region.ts';
import type { PlacedSlice } from './region.ts';

/**
 * A slice on the model's grid, as the profile wants it: what lies outside of the slice's mask is black, then the
 * slice is resized, or what is not black is placed in the middle; then it is smoothed, if the profile says so.
 * Throws if pixels or mask do not fill the slice.
 */
export function prepare(
  slice: InputSlice,
  { placement, bilateral }: Manifest['profile']['preprocessing'],
  size: number,
): PlacedSlice {
  const masked = applyMask(slice);
  const placed =
    placement === 'region'
      ? placeRegion(masked, size)
      : { pixels: resize(masked, size), gridToSlice: gridToSlice(slice, size) };
  return bilateral ? { ...placed, pixels: bilateralFilter(placed.pixels, size, bilateral) } : placed;
}

/** A slice with what lies outside of its mask black. Throws if pixels or mask do not fill it. */
export function applyMask(slice: InputSlice): InputSlice {
  const { pixels, mask, rows, columns } = slice;
  if (rows < 1 || columns < 1 || pixels.length !== rows * columns) {
    throw new Error(`a slice of ${rows} × ${columns} cannot have ${pixels.length} pixels`);
  }
  if (!mask) return slice;
  if (mask.length !== pixels.length) {
    throw new Error(`a slice of ${pixels.length} pixels has a mask of ${mask.length}`);
  }
  return { rows, columns, pixels: pixels.map((value, i) => (mask[i] === 0 ? 0 : value)) };
}
