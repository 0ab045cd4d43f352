import { imagePixel } from '../../dicom/reading/image-pixel.ts';
import type { SeriesSlice } from '../../dicom/series.ts';
import type { SourceInstance } from './series-selection.ts';

/** A stack in which an organ is looked for. */
export interface IsolationSource {
  instances: readonly SourceInstance[];
  /** In order. */
  slices: readonly SeriesSlice[];
}

/** An organ alone. */
export interface Isolation {
  /** Those that hold some of it. */
  slices: SeriesSlice[];
  /** Where it is in one of them: not 0 inside, row by row. Left out where the images show nothing else. */
  maskOf?: (slice: SeriesSlice) => Promise<Uint8Array>;
  /** The values around it, after the modality LUT, where the images show nothing else. */
  background?: readonly [number, number];
  /** SOP Instance UIDs of what tells where it is, besides the images. */
  sourceUIDs?: string[];
}

/** The size of the frames of an instance. */
export function rowsAndColumns({ header }: SourceInstance): { rows: number; columns: number } {
  const { rows, columns } = imagePixel(header.dataset, '7FE00010');
  return { rows, columns };
}
