import type { DicomPool, ReducedSlice } from '../../dicom/pool.ts';
import { normalOf, planeGeometry } from '../../dicom/plane-geometry.ts';
import type { SeriesSlice } from '../../dicom/series.ts';
import type { PlaneGeometry } from '../../dicom/slice.ts';
import { isolateBrain } from '../../inference/brain/brain-isolation.ts';
import type { Volume } from '../../inference/brain/brain-surface.ts';
import { surfaceSection, type SectionGrid } from '../../inference/brain/surface-section.ts';
import { rowsAndColumns, type Isolation, type IsolationSource } from './isolation.ts';

/** Fewer or less deep stacks do not show the shape of a head. */
const [fewestSlices, leastDepth] = [10, 60];
/** Of the volume in which the brain is looked for, in mm: more detail does not move its surface. */
const voxelSize = 2;
/** How far slices may be moved against each other within their planes, in mm. */
const shift = 1;

/**
 * The brain in the slices of an MR stack: the volume is read once at low resolution, slice by slice, and the
 * brain's surface found in it. A stack that is skull-stripped already is taken as it is.
 */
export async function brainMask(
  pool: DicomPool,
  source: IsolationSource,
  signal?: AbortSignal,
): Promise<Isolation | { reason: string }> {
  const { instances, slices } = source;
  const geometries = slices.map(({ index, frame }) => planeGeometry(instances[index].header.dataset, frame));
  const problem = unsuited(slices, geometries);
  if (problem !== undefined) return { reason: `the brain cannot be told from the head: ${problem}` };
  const [geometry] = geometries as PlaneGeometry[];
  const factor = Math.max(
    1,
    Math.round((2 * voxelSize) / (geometry.pixelSpacing[0] + geometry.pixelSpacing[1])),
  );
  const reduced: ReducedSlice[] = [];
  for (const { index, frame } of slices) {
    signal?.throwIfAborted();
    reduced.push(await pool.readReduced(instances[index].path, frame, factor));
  }
  const isolation = await isolateBrain(volumeOf(slices, reduced, geometry, factor), signal);
  if (isolation.kind === 'failed') return { reason: `no brain was found: ${isolation.reason}` };
  if (isolation.kind === 'stripped') {
    const { background } = isolation;
    const shows = ({ pixels }: ReducedSlice) => pixels.some((value) => value > background);
    return { slices: slices.filter((_, i) => shows(reduced[i])), background: [-Infinity, background] };
  }
  const { surface } = isolation;
  const first = (factor - 1) / 2; // the first voxel's centre, in pixels
  const { pixelSpacing } = geometry;
  const section = ({ position }: SeriesSlice, rows: number, columns: number) => {
    const grid: SectionGrid = {
      rows,
      columns,
      origin: [-first * pixelSpacing[1], -first * pixelSpacing[0], position! - slices[0].position!],
      spacing: [pixelSpacing[1], pixelSpacing[0]],
    };
    return surfaceSection(surface, grid);
  };
  const maskOf = (slice: SeriesSlice) => {
    const { rows, columns } = rowsAndColumns(instances[slice.index]);
    return Promise.resolve(section(slice, rows, columns));
  };
  const holding: SeriesSlice[] = [];
  for (const slice of slices) if ((await maskOf(slice)).includes(1)) holding.push(slice);
  return { slices: holding, maskOf };
}

function unsuited(
  slices: readonly SeriesSlice[],
  geometries: readonly (PlaneGeometry | undefined)[],
): string | undefined {
  const [first] = geometries;
  if (!first || geometries.includes(undefined)) return 'its slices have no place in space';
  const depth = slices.at(-1)!.position! - slices[0].position!;
  if (slices.length < fewestSlices || depth < leastDepth) {
    return `${slices.length} slices over ${depth.toFixed(0)} mm, at least ${fewestSlices} over ${leastDepth} mm are needed`;
  }
  const [row, column] = [0, 3].map((i) => first.imageOrientationPatient.slice(i, i + 3));
  const moved = geometries.some((geometry) => {
    const offset = geometry!.imagePositionPatient.map((x, i) => x - first.imagePositionPatient[i]);
    return [row, column].some((axis) => Math.abs(axis.reduce((sum, x, i) => sum + x * offset[i], 0)) > shift);
  });
  return moved ? 'its slices do not lie one above the other' : undefined;
}

/** Evenly spaced planes between the slices, which need not be so. */
function volumeOf(
  slices: readonly SeriesSlice[],
  reduced: readonly ReducedSlice[],
  geometry: PlaneGeometry,
  factor: number,
): Volume {
  const positions = slices.map(({ position }) => position! - slices[0].position!);
  const depth = positions.at(-1)!;
  const planes = Math.min(slices.length, Math.floor(depth / voxelSize) + 1);
  const spacing = depth / (planes - 1);
  const [{ rows, columns }] = reduced;
  const voxels = new Float32Array(planes * rows * columns);
  const darkest = reduced.reduce(
    (least, { pixels }) => pixels.reduce((a, b) => (b < a ? b : a), least),
    Infinity,
  );
  let below = 0;
  for (let plane = 0; plane < planes; plane++) {
    const z = plane * spacing;
    while (below < positions.length - 2 && positions[below + 1] <= z) below++;
    const share = Math.min((z - positions[below]) / (positions[below + 1] - positions[below]), 1);
    const [a, b] = [reduced[below].pixels, reduced[below + 1].pixels];
    for (let i = 0; i < a.length; i++) {
      const value = share === 0 ? a[i] : share === 1 ? b[i] : a[i] + share * (b[i] - a[i]);
      voxels[plane * a.length + i] = Number.isNaN(value) ? darkest : value;
    }
  }
  const { imageOrientationPatient, pixelSpacing } = geometry;
  return {
    size: [columns, rows, planes],
    spacing: [factor * pixelSpacing[1], factor * pixelSpacing[0], spacing],
    voxels,
    superior: [imageOrientationPatient[2], imageOrientationPatient[5], normalOf(imageOrientationPatient)[2]],
  };
}
