import { Worker } from 'node:worker_threads';
import { brainSurface, estimateHead, type Head, type Volume } from './brain-surface.ts';
import { sphere, type Surface } from './sphere.ts';

/** Where the brain of a volume is. */
export type BrainIsolation =
  /** It is alone already: what surrounds it is not above this value. */
  | { kind: 'stripped'; background: number }
  /** Inside of this surface, in mm from the centre of the first voxel. */
  | { kind: 'surface'; surface: Surface }
  | { kind: 'failed'; reason: string };

/** Of a volume, that is background where the brain is alone; the least. */
const backgroundShare = 0.25;
/** How far above the lowest value background reaches, as a part of the range of values. */
const backgroundLevel = 0.01;
/** Under the skin, so deep at most (mm) and so dark (between the lowest value and the median), lies the skull. */
const skull = { depth: 20, darkness: 0.35 };
/** Of the directions up from the middle of the head, that meet a skull where the brain is alone; the most. */
const skullShare = 0.35;
/** Of a brain, or as much of it as was imaged; ml. */
const [smallestBrain, largestBrain] = [400, 2200];

/** Finds the brain, see `brainOf`, in a thread of its own. Rejects with the signal's reason when it is aborted. */
export async function isolateBrain(volume: Volume, signal?: AbortSignal): Promise<BrainIsolation> {
  signal?.throwIfAborted();
  const worker = new Worker(new URL('brain-worker.ts', import.meta.url), { workerData: volume });
  const { promise, resolve, reject } = Promise.withResolvers<BrainIsolation>();
  const abort = () => {
    reject(signal!.reason as Error);
  };
  worker.once('message', resolve).once('error', reject);
  worker.once('exit', () => {
    reject(new Error('the thread that looks for the brain has ended'));
  });
  signal?.addEventListener('abort', abort);
  try {
    return await promise;
  } finally {
    signal?.removeEventListener('abort', abort);
    await worker.terminate();
  }
}

/**
 * Whether an MR volume shows the brain alone, else where the brain ends. It is alone if much of the volume is
 * black and hardly anywhere a dark layer, the skull, lies below the outermost bright one.
 */
export function brainOf(volume: Volume): BrainIsolation {
  const head = estimateHead(volume);
  if (!head) return { kind: 'failed', reason: 'the volume is of one value' };
  const { lowest, highest } = head.intensities;
  const background = lowest + backgroundLevel * (highest - lowest);
  const black = volume.voxels.reduce((count, value) => (value <= background ? count + 1 : count), 0);
  if (black >= backgroundShare * volume.voxels.length && shareWithSkull(volume, head) <= skullShare) {
    return { kind: 'stripped', background };
  }
  const surface = brainSurface(volume, head);
  const millilitres = volumeOf(surface) / 1000;
  if (!(millilitres >= smallestBrain && millilitres <= largestBrain)) {
    return { kind: 'failed', reason: `what was found has ${millilitres.toFixed(0)} ml, which is no brain` };
  }
  return { kind: 'surface', surface };
}

/** The share of the directions, up from the middle of the head, in which a dark layer lies under the outermost. */
function shareWithSkull({ size, spacing, voxels, superior }: Volume, { centre, intensities }: Head): number {
  const { lowest, threshold, median } = intensities;
  const dark = lowest + skull.darkness * (median - lowest);
  const directions = sphere(3).vertices;
  let [rays, withSkull] = [0, 0];
  for (let d = 0; d < directions.length; d += 3) {
    const direction = directions.subarray(d, d + 3);
    if (direction[0] * superior[0] + direction[1] * superior[1] + direction[2] * superior[2] < 0) continue;
    // The values along the ray, a millimetre apart, as far as the volume reaches.
    const values: number[] = [];
    for (let r = 0; ; r++) {
      const [x, y, z] = centre.map((c, axis) => Math.round((c + r * direction[axis]) / spacing[axis]));
      if (!(x >= 0 && y >= 0 && z >= 0 && x < size[0] && y < size[1] && z < size[2])) break;
      values.push(voxels[x + size[0] * (y + size[1] * z)]);
    }
    const outermost = values.findLastIndex((value) => value > threshold);
    // A head that reaches beyond the volume shows no skin there.
    if (outermost < 0 || outermost > values.length - 3) continue;
    rays += 1;
    const below = values.slice(Math.max(outermost - skull.depth, 0), Math.max(outermost - 2, 0));
    if (below.some((value) => value < dark)) withSkull += 1;
  }
  return rays === 0 ? 1 : withSkull / rays;
}

/** What a closed surface encloses: the sum of the tetrahedra between its triangles and the origin. */
function volumeOf({ vertices, triangles }: Surface): number {
  let sum = 0;
  for (let t = 0; t < triangles.length; t += 3) {
    const [a, b, c] = [0, 1, 2].map((k) => vertices.subarray(3 * triangles[t + k], 3 * triangles[t + k] + 3));
    sum += a[0] * (b[1] * c[2] - b[2] * c[1]);
    sum += a[1] * (b[2] * c[0] - b[0] * c[2]);
    sum += a[2] * (b[0] * c[1] - b[1] * c[0]);
  }
  return sum / 6;
}
