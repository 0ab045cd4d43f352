import { basename, join } from 'node:path';
import { picturesIn, readGreyPicture } from '../../training/pictures.ts';
import type { Demonstration, KnownStudy } from './demonstration.ts';
import { patchEightModel } from './patch-eight-model.ts';

/** In the order of their names. */
const parts = { training: [0, 5], calibration: [5, 6], test: [6, 10] } as const;

/**
 * Retinal OCT (Kermany et al. 2018): learns the first five normal pictures. With so few, it shows that the way from
 * pictures to a figure can be gone; the figure says next to nothing.
 *
 * @param folder with the folders `NORMAL`, `CNV`, `DME` and `DRUSEN`
 */
export function retinalOctDemo(folder: string): Demonstration {
  async function* studies(kind: string, [from, to]: readonly [number, number]): AsyncGenerator<KnownStudy> {
    for (const path of (await picturesIn(join(folder, kind))).slice(from, to)) {
      yield {
        patient: basename(path).replace(/\W/g, '_'),
        study: '1',
        ...(kind !== 'NORMAL' && { kind }),
        slices: [await readGreyPicture(path)],
      };
    }
  }
  return {
    name: 'retinal-oct-demo',
    note: 'A trial: it has learned five pictures of normal retinas. It is of no use for patients.',
    model: patchEightModel({ patchSizes: [8, 12, 16], blocks: [3] }),
    series: { modalities: ['OPT', 'OCT', 'OP', 'OT'] },
    reductions: { image: 'max|mean', map: 'mean', study: 'max' },
    pretraining: { epochs: 800, batchSize: 5, maximumRate: 1e-3 },
    training: { epochs: 2000, batchSize: 5, maximumRate: 1.5e-3, loss: 'both' },
    alpha: 0.5,
    trainingStudies: () => studies('NORMAL', parts.training),
    calibrationStudies: () => studies('NORMAL', parts.calibration),
    calibrationPatients: 1,
    async *testStudies() {
      yield* studies('NORMAL', parts.test);
      for (const kind of ['CNV', 'DME', 'DRUSEN']) yield* studies(kind, [0, 10]);
    },
  };
}
