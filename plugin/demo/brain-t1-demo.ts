import { windowTransform } from '../../dicom/decoding/voi-lut.ts';
import type { BrainStudy } from '../../fixtures/brain-study.ts';
import { headStudy, lesionKinds } from '../../fixtures/head-studies.ts';
import type { Demonstration, KnownSlice, KnownStudy } from './demonstration.ts';
import { patchEightModel } from './patch-eight-model.ts';

/** As a node shows the series that `writeMRSeries` writes. */
const grey = windowTransform({ center: 600, width: 1200 });

/**
 * Colin27's head in T1, deformed and scanned in many ways. Everything is made of seeds: 1000 to 1149 to train, 2000
 * to 2038 to calibrate, 4000 to 4019 and
 * the first five of 4100, 4200, 4300 and 4400 to test; what was chosen was chosen on 3000 to 3249.
 */
export const brainT1Demo: Demonstration = {
  name: 'brain-t1-demo',
  note: 'A demonstration: it has learned one healthy head in many deformations, as axial T1 slices. It shows how everything works and is of no use for patients.',
  // What told most on the seeds of choice.
  model: patchEightModel({ patchSizes: [8, 12, 16], blocks: [3] }),
  series: {
    modalities: ['MR'],
    bodyParts: ['BRAIN', 'HEAD', 'SKULL', 'HEADNECK'],
    planes: ['axial'],
    contrast: 'T1',
  },
  reductions: { image: 'max|mean', map: 'mean', study: 'max' },
  pretraining: { epochs: 16, batchSize: 32, maximumRate: 1.5e-3 },
  training: { epochs: 12, batchSize: 12, maximumRate: 2e-3, loss: 'both' },
  trainingStudies: () => healthy(1000, 150),
  calibrationStudies: () => healthy(2000, 39),
  calibrationPatients: 39,
  *testStudies() {
    yield* healthy(4000, 20);
    for (const [i, [kind, lesion]] of Object.entries(lesionKinds).entries()) {
      for (let seed = 4100 + 100 * i; seed < 4105 + 100 * i; seed++) {
        yield { ...knownStudy(seed, headStudy(seed, lesion)), kind };
      }
    }
  },
};

function* healthy(first: number, count: number): Generator<KnownStudy> {
  for (let seed = first; seed < first + count; seed++) yield knownStudy(seed, headStudy(seed));
}

function knownStudy(seed: number, { rows, columns, slices, pixels, lesionMask }: BrainStudy): KnownStudy {
  const perSlice = rows * columns;
  const slice = (index: number): KnownSlice => {
    const part = [index * perSlice, (index + 1) * perSlice] as const;
    const shown = Uint8Array.from(pixels.subarray(...part), (value) => Math.round(255 * grey(value)));
    return { rows, columns, pixels: shown, truth: lesionMask.subarray(...part) };
  };
  return { patient: `${seed}`, study: `${seed}`, slices: Array.from({ length: slices }, (_, i) => slice(i)) };
}
