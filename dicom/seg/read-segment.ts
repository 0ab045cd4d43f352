import type { DicomJson } from '../dicom-json.ts';
import { frameAttributes } from '../functional-groups.ts';
import { normalOf, planeGeometry, positionAlongNormal } from '../plane-geometry.ts';
import { itemsOf, numberOf, stringOf } from '../reading/attribute.ts';
import type { PlaneGeometry } from '../slice.ts';

/** What a segment must show. */
export interface SegmentedProperty {
  /** Codes of the Segmented Property Type: SNOMED CT, and the SNOMED RT of older objects. */
  codes: readonly string[];
  /** The Segment Label where the code is another one, such as "Organ". */
  label: RegExp;
}

/** One frame of a segment: a plane of it. */
export interface SegmentFrame {
  /** Counted from 1. */
  frame: number;
  geometry: PlaneGeometry;
  position: number;
}

/** A segment of a binary Segmentation. */
export interface Segment {
  rows: number;
  columns: number;
  /** In the order of their positions; planes without any of the segment may be missing. */
  frames: SegmentFrame[];
  /** Between planes, in mm. */
  spacing: number;
  /** Of its planes, in mm, as stated: planes without any of the segment may be missing in between. */
  thickness: number | undefined;
}

/** How much normals may differ: the length of their cross product. */
const parallelTolerance = 0.01;

/**
 * The segment of a Segmentation (PS3.3 A.51) that shows a property.
 *
 * @returns the reason where there is none, or not one that can be read.
 */
export function findSegment(
  dataset: DicomJson,
  numberOfFrames: number,
  { codes, label }: SegmentedProperty,
): Segment | { reason: string } {
  const matching = itemsOf(dataset, '00620002').filter(
    (item) =>
      itemsOf(item, '0062000F').some((code) => codes.includes(stringOf(code, '00080100') ?? '')) ||
      label.test(stringOf(item, '00620005') ?? ''),
  );
  if (matching.length === 0) return { reason: 'it has no such segment' };
  if (matching.length > 1) return { reason: `${matching.length} segments of it could be meant` };
  return readSegment(dataset, numberOfFrames, matching[0]);
}

/** All segments of a binary Segmentation that have frames, or the reason why they cannot be read. */
export function allSegments(dataset: DicomJson, numberOfFrames: number): Segment[] | { reason: string } {
  const segments: Segment[] = [];
  for (const item of itemsOf(dataset, '00620002')) {
    const segment = readSegment(dataset, numberOfFrames, item);
    if ('reason' in segment) return segment;
    segments.push(segment);
  }
  return segments.length > 0 ? segments : { reason: 'it has no segment' };
}

/** The segment that an item of the Segment Sequence describes. */
function readSegment(
  dataset: DicomJson,
  numberOfFrames: number,
  item: DicomJson,
): Segment | { reason: string } {
  const type = stringOf(dataset, '00620001');
  if (type !== 'BINARY') return { reason: `it is of type ${type ?? 'unknown'}, not BINARY` };
  const number = numberOf(item, '00620004');
  const frames: SegmentFrame[] = [];
  for (let frame = 1; frame <= numberOfFrames; frame++) {
    if (referencedSegment(dataset, frame) !== number) continue;
    const geometry = planeGeometry(dataset, frame);
    if (!geometry) return { reason: `its frame ${frame} has no place in space` };
    frames.push({ frame, geometry, position: positionAlongNormal(geometry) });
  }
  if (frames.length === 0) return { reason: 'the segment has no frames' };
  frames.sort((a, b) => a.position - b.position);
  const distances = frames.slice(1).map(({ position }, i) => position - frames[i].position);
  const shared = frameAttributes(dataset, frames[0].frame);
  const thickness = numberOf(shared, '00180088') ?? numberOf(shared, '00180050');
  return {
    rows: numberOf(dataset, '00280010') ?? 0,
    columns: numberOf(dataset, '00280011') ?? 0,
    frames,
    spacing: distances.toSorted((a, b) => a - b)[distances.length >> 1] ?? thickness ?? 1,
    thickness,
  };
}

/** Referenced Segment Number of the Segment Identification of a frame, its own or the shared one. */
function referencedSegment(dataset: DicomJson, frame: number): number | undefined {
  const groups = [itemsOf(dataset, '52009230').at(frame - 1), itemsOf(dataset, '52009229').at(0)];
  for (const group of groups) {
    const [identification] = group ? itemsOf(group, '0062000A') : [];
    if (identification) return numberOf(identification, '0062000B');
  }
  return undefined;
}

/** Whether a segment lies in the space of an image plane, and its own planes are parallel to it. */
export function liesAlong({ frames: [{ geometry }] }: Segment, plane: PlaneGeometry): boolean {
  if (geometry.frameOfReferenceUID !== plane.frameOfReferenceUID) return false;
  const [a, b] = [geometry, plane].map(({ imageOrientationPatient }) => normalOf(imageOrientationPatient));
  const cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  return Math.hypot(...cross) < parallelTolerance;
}

/** The frame of a segment in whose plane, half a distance of planes up and down, an image plane lies. */
export function frameAt({ frames, spacing }: Segment, plane: PlaneGeometry): SegmentFrame | undefined {
  const { imageOrientationPatient } = frames[0].geometry;
  const position = positionAlongNormal({ ...plane, imageOrientationPatient });
  const distance = (frame: SegmentFrame) => Math.abs(frame.position - position);
  const nearest = frames.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  // A hundredth more: positions are written in decimal.
  return distance(nearest) <= 0.51 * spacing ? nearest : undefined;
}

/**
 * A frame of a segment on the grid of an image plane that it lies along, by the nearest pixel: 1 inside.
 *
 * @param bits of the frame, the first pixel in the lowest bit
 * @returns rows × columns, row by row
 */
export function resampleFrame(
  bits: Uint8Array,
  { rows: segmentRows, columns: segmentColumns }: Pick<Segment, 'rows' | 'columns'>,
  { geometry }: SegmentFrame,
  plane: PlaneGeometry,
  { rows, columns }: { rows: number; columns: number },
): Uint8Array {
  const along = (vector: readonly number[], axis: readonly number[]) =>
    vector.reduce((sum, x, i) => sum + x * axis[i], 0);
  const axes = (of: PlaneGeometry) =>
    [of.imageOrientationPatient.slice(0, 3), of.imageOrientationPatient.slice(3)] as const;
  const [row, column] = axes(geometry);
  const [imageRow, imageColumn] = axes(plane);
  const offset = plane.imagePositionPatient.map((x, i) => x - geometry.imagePositionPatient[i]);
  const [down, across] = geometry.pixelSpacing;
  const [imageDown, imageAcross] = plane.pixelSpacing;
  // Of the segment's grid, by column and by row of the image.
  const x = [offset, imageRow, imageColumn].map((vector) => along(vector, row) / across);
  const y = [offset, imageRow, imageColumn].map((vector) => along(vector, column) / down);
  const mask = new Uint8Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const j = Math.round(x[0] + x[1] * imageAcross * c + x[2] * imageDown * r);
      const i = Math.round(y[0] + y[1] * imageAcross * c + y[2] * imageDown * r);
      if (j < 0 || i < 0 || j >= segmentColumns || i >= segmentRows) continue;
      const bit = i * segmentColumns + j;
      mask[r * columns + c] = (bits[bit >> 3] >> (bit & 7)) & 1;
    }
  }
  return mask;
}
