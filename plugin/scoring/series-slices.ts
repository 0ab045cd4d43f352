import type { DicomPool } from '../../dicom/pool.ts';
import type { Slice } from '../../dicom/slice.ts';
import type { SelectedSeries } from './series-selection.ts';

/** A slice as a profile looks at it. */
export interface MaskedSlice extends Slice {
  /** Not 0 inside of what the profile looks at, row by row; the whole slice if left out. */
  mask?: Uint8Array;
}

/** Slices that are decoded ahead of their use. */
const ahead = 4;

/**
 * The slices of a series in order, grey as its profile wants them and with its mask.
 *
 * @throws DicomError for a slice that cannot be decoded.
 */
export async function* readSlices(
  pool: DicomPool,
  { instances, slices, grey, maskOf }: SelectedSeries,
): AsyncGenerator<MaskedSlice, void, undefined> {
  const running: Promise<MaskedSlice>[] = [];
  for (const slice of slices) {
    const next = Promise.all([
      pool.readSlice(instances[slice.index].path, slice.frame, grey),
      maskOf?.(slice),
    ]).then(([pixels, mask]) => ({ ...pixels, ...(mask && { mask }) }));
    next.catch(() => undefined); // reported when its turn comes
    running.push(next);
    if (running.length >= ahead) yield await running.shift()!;
  }
  for (const slice of running) yield await slice;
}
