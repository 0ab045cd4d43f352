import { colin27, type Anatomy } from '../../fixtures/colin27.ts';
import { normal, randomStream } from '../../fixtures/random.ts';
import { brainOf, isolateBrain } from './brain-isolation.ts';
import type { Volume } from './brain-surface.ts';
import { surfaceSection } from './surface-section.ts';
import type { Surface } from './sphere.ts';

// Bound once: inside of jest's sandbox every look-up of a global is slow.
const { exp, floor, hypot, sin } = Math;

/** A change of the grey value of a voxel at i, j, k (1 mm). */
type Change = (value: number, i: number, j: number, k: number) => number;

const same: Change = (value) => value;

/** Colin27 (i to the right of the image, j to the front, k up) in blocks of voxels of 1 mm. */
function head(anatomy: Anatomy, block: [number, number, number], change: Change = same): Volume {
  const { size, voxels } = colin27(anatomy);
  const [columns, rows, slices] = size.map((n, axis) => floor(n / block[axis]));
  const means = new Float32Array(columns * rows * slices);
  for (let k = 0; k < slices * block[2]; k++) {
    for (let j = 0; j < rows * block[1]; j++) {
      for (let i = 0; i < columns * block[0]; i++) {
        const value = change(voxels[i + size[0] * (j + size[1] * k)], i, j, k);
        const [x, y, z] = [floor(i / block[0]), floor(j / block[1]), floor(k / block[2])];
        means[x + columns * (y + rows * z)] += value / (block[0] * block[1] * block[2]);
      }
    }
  }
  return { size: [columns, rows, slices], spacing: block, voxels: means, superior: [0, 0, 1] };
}

/** Of a surface found in blocks of `block` and the published mask of Colin27, on every third slice of that. */
function dice(surface: Surface, block: readonly number[]): number {
  const { size, voxels } = colin27('brain');
  const [columns, rows, slices] = size;
  const first = block.map((mm) => (mm - 1) / 2);
  let [both, sum] = [0, 0];
  for (let k = 0; k < slices; k += 3) {
    const origin = [-first[0], -first[1], k - first[2]] as const;
    const mask = surfaceSection(surface, { rows, columns, origin, spacing: [1, 1] });
    for (let p = 0; p < mask.length; p++) {
      const brain = voxels[k * columns * rows + p] > 0 ? 1 : 0;
      both += mask[p] & brain;
      sum += mask[p] + brain;
    }
  }
  return (2 * both) / sum;
}

const noise = randomStream(1, 'noise');

/** Colin27's T1 values as FLAIR would have them: fluid dark, grey matter above white matter. */
const flair: Change = (value) => {
  if (value < 45) return value / 3;
  return value < 80 ? 15 + ((value - 45) / 35) * 100 : value < 115 ? 115 - ((value - 80) / 35) * 25 : value;
};

test.each<[string, [number, number, number], number, Change]>([
  ['as it is', [3, 3, 3], 0.95, same],
  ['in slices of 5 mm', [3, 3, 5], 0.95, same],
  ['with noise', [3, 3, 3], 0.95, (value) => hypot(value + 12 * normal(noise), 12 * normal(noise))],
  ['unevenly lit', [3, 3, 3], 0.94, (value, i, j) => value * exp(0.2 * sin(i / 60) + 0.2 * sin(j / 70))],
  ['with the contrast of FLAIR', [3, 3, 5], 0.94, flair],
])(
  'the brain of Colin27 is found where its mask has it: %s',
  (_name, block, least, change) => {
    const found = brainOf(head('head', block, change));
    expect(found.kind).toBe('surface');
    const overlap = found.kind === 'surface' ? dice(found.surface, block) : 0;
    expect(overlap).toBeGreaterThan(least);
  },
  300_000,
);

test.each<[string, [number, number, number], Change]>([
  ['as it is', [3, 3, 3], same],
  ['in slices of 5 mm', [3, 3, 5], same],
  ['with the contrast of FLAIR', [3, 3, 3], flair],
  ['on a background that is not 0', [3, 3, 3], (value) => 10 + value],
])('a brain that is alone already is left as it is: %s', (_name, block, change) => {
  const found = brainOf(head('brain', block, change));
  expect(found.kind).toBe('stripped');
  expect(found.kind === 'stripped' && found.background).toBeLessThan(12);
});

test('where there is no brain, it is said', () => {
  const size = [40, 40, 20] as const;
  const empty = { size, spacing: [4, 4, 5], superior: [0, 0, 1] } as const;
  const voxels = new Float32Array(40 * 40 * 20);
  expect(brainOf({ ...empty, voxels })).toEqual({ kind: 'failed', reason: 'the volume is of one value' });
  // A block as large as the volume: nothing dark around it.
  const noisy = voxels.map((_, i) => 100 + ((i * 7919) % 13));
  expect(brainOf({ ...empty, voxels: noisy }).kind).toBe('failed');
});

test('the thread finds the same as the calling one, and can be given up', async () => {
  const volume = head('brain', [4, 4, 5]);
  expect(await isolateBrain(volume)).toEqual(brainOf(volume));
  await expect(isolateBrain(volume, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
}, 300_000);
