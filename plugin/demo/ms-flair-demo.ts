import { join } from 'node:path';
import { readNiftiVoxels } from '../../fixtures/nifti.ts';
import type { Demonstration, KnownSlice, KnownStudy } from './demonstration.ts';
import { patchEightModel } from './patch-eight-model.ts';

/** Slices with less of the brain, in voxels of 1 mm², show hardly more than its edge. */
const leastBrain = 1000;

/** One in so many normal slices calibrates. */
const calibrationEvery = 6;

/**
 * Lesions of multiple sclerosis in skull-stripped FLAIR (Lesjak et al. 2017): learns the slices of one person that
 * show none, and is measured on all slices of another. A slice stands for a person here, so neither threshold nor
 * intervals say anything of other people.
 *
 * @param train folder of the person to learn from, with `flair.nii.gz` and `lesions.nii.gz`
 * @param test folder of the other person
 */
export function msFlairDemo(train: string, test: string): Demonstration {
  const normal = () => axialSlices(train).filter(({ slice }) => !showsLesion(slice));
  const calibrates = (i: number) => i % calibrationEvery === calibrationEvery >> 1;
  const studies = (slices: NumberedSlice[], prefix: string): KnownStudy[] =>
    slices.map(({ slice, k }) => ({
      patient: `${prefix}${k}`,
      study: '1',
      ...(showsLesion(slice) && { kind: 'lesion' }),
      slices: [slice],
    }));
  return {
    name: 'ms-flair-demo',
    note: 'A trial: it has learned the lesion-free FLAIR slices of one person. It is of no use for patients.',
    model: patchEightModel({ patchSizes: [8, 12, 16], blocks: [3] }),
    series: {
      modalities: ['MR'],
      bodyParts: ['BRAIN', 'HEAD', 'SKULL', 'HEADNECK'],
      planes: ['axial'],
      contrast: 'FLAIR',
    },
    reductions: { image: 'max|mean', map: 'mean', study: 'max' },
    pretraining: { epochs: 200, batchSize: 23, maximumRate: 1.5e-3 },
    training: { epochs: 450, batchSize: 11, maximumRate: 2e-3, loss: 'both' },
    alpha: 0.1,
    trainingStudies: () =>
      studies(
        normal().filter((_, i) => !calibrates(i)),
        'train',
      ),
    calibrationStudies: () =>
      studies(
        normal().filter((_, i) => calibrates(i)),
        'train',
      ),
    calibrationPatients: normal().filter((_, i) => calibrates(i)).length,
    testStudies: () => studies(axialSlices(test), 'test'),
  };
}

interface NumberedSlice {
  /** Index along the third axis. */
  k: number;
  slice: KnownSlice & { truth: Uint8Array };
}

/** The axial slices that show enough of the brain; grey as a node shows them: its percentiles 0.5 and 99.5. */
function axialSlices(folder: string): NumberedSlice[] {
  const { size, voxels } = readNiftiVoxels(join(folder, 'flair.nii.gz'));
  const lesions = readNiftiVoxels(join(folder, 'lesions.nii.gz')).voxels;
  const brain = voxels.filter((value) => value > 0).sort();
  const [low, high] = [0.005, 0.995].map((share) => brain[Math.floor(share * brain.length)]);
  const grey = (value: number) => Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));
  const [columns, rows, count] = size;
  return Array.from({ length: count }, (_, k) => {
    const part = [k * rows * columns, (k + 1) * rows * columns] as const;
    const values = voxels.subarray(...part);
    const slice = {
      rows,
      columns,
      pixels: Uint8Array.from(values, grey),
      truth: Uint8Array.from(lesions.subarray(...part)),
    };
    return { k, slice, brain: values.filter((value) => value > 0).length };
  }).filter(({ brain }) => brain > leastBrain);
}

function showsLesion({ truth }: { truth: Uint8Array }): boolean {
  return truth.some((value) => value > 0);
}
