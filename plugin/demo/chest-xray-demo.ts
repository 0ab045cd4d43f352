import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readGreyPicture } from '../../training/pictures.ts';
import type { Demonstration, KnownStudy } from './demonstration.ts';
import { patchEightModel } from './patch-eight-model.ts';

const part = z.object({ normal: z.array(z.string()), pneumonia: z.array(z.string()).default([]) });

/** File names of each part; the first eight digits are the patient. What was chosen was chosen on `validation`. */
const split = z
  .object({ training: part, calibration: part, validation: part, test: part })
  .parse(JSON.parse(readFileSync(join(import.meta.dirname, '../../fixtures/chest-xray-split.json'), 'utf8')));

const patientOf = (name: string) => name.slice(0, 8);

/**
 * Chest X-rays of NIH ChestX-ray8 (Wang et al. 2017).
 *
 * @param folder with the folders `normal` and `pneumonia`, PNG files
 */
export function chestXrayDemo(folder: string): Demonstration {
  async function* studies(
    kind: 'normal' | 'pneumonia',
    names: readonly string[],
  ): AsyncGenerator<KnownStudy> {
    for (const name of names) {
      yield {
        patient: patientOf(name),
        study: name,
        ...(kind === 'pneumonia' && { kind }),
        slices: [await readGreyPicture(join(folder, kind, name))],
      };
    }
  }
  return {
    name: 'chest-xray-demo',
    note: 'A demonstration: it has learned 174 small chest X-rays that a program called normal. It shows how everything works and is of no use for patients.',
    // What told most on the validation pictures.
    model: patchEightModel({ patchSizes: [8], blocks: [3] }),
    series: { modalities: ['CR', 'DX'], bodyParts: ['CHEST', 'THORAX', 'LUNG'], views: ['PA', 'AP'] },
    reductions: { image: 'mean|max', map: 'mean', study: 'max' },
    pretraining: { epochs: 200, batchSize: 29, maximumRate: 1.5e-3 },
    training: { epochs: 300, batchSize: 12, maximumRate: 2e-3, loss: 'both' },
    trainingStudies: () => studies('normal', split.training.normal),
    calibrationStudies: () => studies('normal', split.calibration.normal),
    calibrationPatients: new Set(split.calibration.normal.map(patientOf)).size,
    async *testStudies() {
      yield* studies('normal', split.test.normal);
      yield* studies('pneumonia', split.test.pneumonia);
    },
  };
}
