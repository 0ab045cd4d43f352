import { ValueHistogram } from '../../dicom/decoding/value-histogram.ts';
import type { DicomPool } from '../../dicom/pool.ts';
import { planeGeometry } from '../../dicom/plane-geometry.ts';
import {
  findSegment,
  frameAt,
  liesAlong,
  resampleFrame,
  type Segment,
} from '../../dicom/seg/read-segment.ts';
import type { SeriesSlice } from '../../dicom/series.ts';
import { rowsAndColumns, type Isolation, type IsolationSource } from './isolation.ts';
import type { SourceInstance } from './series-selection.ts';

/** SNOMED CT and SNOMED RT "Liver". */
const liver = { codes: ['10200004', 'T-62000'], label: /^\s*liver\s*$/i };

/** Of pixels that have one value where the liver is alone, and of the others that are as dense as a liver (HU). */
const alone = { background: 0.7, inRange: 0.9, low: -50, high: 300 };

/**
 * The liver in the slices of a CT stack: as a binary Segmentation of the study marks it, unless all but the liver
 * is of one value already.
 *
 * @param segmentations the Segmentation objects of the study; asked for only where they are needed
 */
export async function liverMask(
  pool: DicomPool,
  source: IsolationSource,
  segmentations: () => Promise<SourceInstance[]>,
  signal?: AbortSignal,
): Promise<Isolation | { reason: string }> {
  return (await alreadyAlone(pool, source, signal)) ?? marked(pool, source, await segmentations());
}

/** Whether the images show the liver alone: hardly anything but one value, and what a liver has. */
async function alreadyAlone(
  pool: DicomPool,
  { instances, slices }: IsolationSource,
  signal?: AbortSignal,
): Promise<Isolation | undefined> {
  const histogram = new ValueHistogram();
  for (const { index, frame } of slices) {
    signal?.throwIfAborted();
    histogram.add(await pool.readHistogram(instances[index].path, frame));
  }
  const mode = histogram.mode();
  if (!mode || mode.share < alone.background) return undefined;
  const background = [mode.value, mode.value] as const;
  const organ = new ValueHistogram();
  const holding: SeriesSlice[] = [];
  for (const slice of slices) {
    signal?.throwIfAborted();
    const frame = await pool.readHistogram(instances[slice.index].path, slice.frame, { background });
    organ.add(frame);
    if (frame.bins.length > 0) holding.push(slice);
  }
  if (!(organ.share(alone.low, alone.high) >= alone.inRange)) return undefined;
  return { slices: holding, background };
}

/** Where a Segmentation marks the liver. */
async function marked(
  pool: DicomPool,
  { instances, slices }: IsolationSource,
  segmentations: readonly SourceInstance[],
): Promise<Isolation | { reason: string }> {
  const reason = 'it does not show the liver alone';
  if (segmentations.length === 0) return { reason: `${reason}, and the study has no Segmentation` };
  const geometryOf = ({ index, frame }: SeriesSlice) => planeGeometry(instances[index].header.dataset, frame);
  const first = geometryOf(slices[0]);
  if (!first) return { reason: `${reason}, and its slices have no place in space` };
  const reasons: string[] = [];
  const found: { segment: Segment; path: string; sopInstanceUID: string }[] = [];
  for (const { path, header } of segmentations) {
    const segment = findSegment(header.dataset, header.numberOfFrames, liver);
    if ('reason' in segment) reasons.push(`Segmentation ${header.sopInstanceUID}: ${segment.reason}`);
    else if (!liesAlong(segment, first)) {
      reasons.push(`Segmentation ${header.sopInstanceUID}: it lies in another space or across the slices`);
    } else found.push({ segment, path, sopInstanceUID: header.sopInstanceUID });
  }
  if (found.length > 1) return { reason: `${found.length} Segmentations mark a liver in the same space` };
  if (found.length === 0) return { reason: `${reason}, and no Segmentation does: ${reasons.join('; ')}` };
  const [{ segment, path, sopInstanceUID }] = found;
  const maskOf = async (slice: SeriesSlice) => {
    const plane = geometryOf(slice)!;
    const size = rowsAndColumns(instances[slice.index]);
    const frame = frameAt(segment, plane);
    if (!frame) return new Uint8Array(size.rows * size.columns);
    const { bytes } = await pool.readFrame(path, frame.frame);
    return resampleFrame(bytes, segment, frame, plane, size);
  };
  const holding: SeriesSlice[] = [];
  for (const slice of slices) if ((await maskOf(slice)).includes(1)) holding.push(slice);
  if (holding.length === 0) return { reason: 'the Segmentation marks no liver in its slices' };
  return { slices: holding, maskOf, sourceUIDs: [sopInstanceUID] };
}
