import { fitCalibration, onePerPatient } from '../calibration.ts';
import type { NormalStudy } from '../calibration.ts';
import { PooledValues } from '../pooled-values.ts';
import type { InputSlice, RawSliceScore, Scorer } from '../scorer.ts';
import { addBundle } from './registry.ts';
import type { Bundle } from './schema.ts';

/** The slices of a normal study that are scored, and whose it is. */
export interface CalibrationStudy {
  readonly patient: string;
  readonly slices: () => AsyncIterable<InputSlice>;
}

/**
 * Scores normal studies with a bundle and adds the bundle that differs from it in its calibration alone. Studies of
 * one patient count once, by the highest; the values of all maps are pooled.
 *
 * @param alpha false-positive rate of the thresholds
 * @param onStudy called after each study
 * @throws Error if there are too few patients for the rate, before anything is scored, or a study has no slice.
 */
export async function calibratedFrom(
  root: string,
  scorer: Scorer,
  studies: readonly CalibrationStudy[],
  alpha: number,
  onStudy: (done: number) => void = () => undefined,
): Promise<Bundle> {
  const patients = new Set(studies.map(({ patient }) => patient)).size;
  const needed = Math.ceil(1 / alpha) - 1;
  if (patients < needed) {
    throw new Error(
      `a false-positive rate of ${alpha} needs normal studies of ${needed} patients, there are ${patients}`,
    );
  }
  const scored = [];
  const mapValues = new PooledValues();
  for (const { patient, slices } of studies) {
    scored.push({ patient, ...(await studyScore(scorer.scoreRaw(slices()), mapValues)) });
    onStudy(scored.length);
  }
  const normals = onePerPatient(scored);
  const { id, ...manifest } = scorer.bundle;
  return addBundle(root, {
    ...manifest,
    calibration: {
      ...fitCalibration(normals, mapValues, alpha),
      ...(scorer.precision !== 'float32' && { precision: scorer.precision }),
    },
    provenance: { ...manifest.provenance, calibrationStudies: normals.length, predecessor: id },
  });
}

async function studyScore(
  slices: AsyncIterable<RawSliceScore>,
  mapValues: PooledValues,
): Promise<NormalStudy> {
  let [rawScore, mapMaximum] = [-Infinity, -Infinity];
  for await (const slice of slices) {
    rawScore = Math.max(rawScore, slice.rawScore);
    mapMaximum = slice.map.reduce((largest, value) => Math.max(largest, value), mapMaximum);
    mapValues.add(slice.map);
  }
  if (rawScore === -Infinity) throw new Error('a study without a slice cannot be scored');
  return { rawScore, mapMaximum };
}
