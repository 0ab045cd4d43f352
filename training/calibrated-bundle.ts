import { referencePicture, storedReference } from '../inference/bundle/reference-picture.ts';
import { addBundle, addWeights } from '../inference/bundle/registry.ts';
import type { Bundle, Manifest } from '../inference/bundle/schema.ts';
import { fitCalibration } from '../inference/calibration.ts';
import { initialValues, parameterShapes } from '../inference/model/initial-values.ts';
import type { ModelConfig } from '../inference/model/config.ts';
import type { TensorValues } from '../inference/safetensors.ts';
import { PooledValues } from '../inference/pooled-values.ts';
import { sampleSlices } from '../inference/slice-sampling.ts';
import type { Evaluation } from './evaluation.ts';
import { firstStudies } from './slice-cache.ts';
import type { PatientSplit } from './slice-cache.ts';
import { headParameters, isTrained } from './training-graph.ts';

export interface BundleOptions {
  /** Of the bundle registry. */
  readonly root: string;
  /** Name of the bundle and of its profile. */
  readonly profile: string;
  /** False-positive rate of the thresholds. */
  readonly alpha: number;
  readonly seed: number;
  readonly software: string;
  readonly origin: Manifest['provenance']['origin'];
  /** What whoever looks at the bundle's scores should know. */
  readonly note?: string;
}

/** What a bundle takes over; `id` is that of the bundle that it continues. */
export type Base = Pick<Manifest, 'model' | 'profile' | 'weights'> & { readonly id?: string };

/** The trained head as a bundle, calibrated on one study of each held-out patient. */
export async function calibratedBundle(
  options: BundleOptions,
  { id, model, profile, weights: frozen }: Base,
  { train: trained, heldOut }: PatientSplit,
  weights: ReadonlyMap<string, TensorValues>,
  evaluation: Evaluation,
): Promise<Bundle> {
  const head = await addWeights(options.root, '', headTensors(model, weights));

  const normals = [];
  const mapValues = new PooledValues();
  for (const { slices } of firstStudies(heldOut)) {
    // A study is scored by the profile's sample of its slices: so is what it is compared with.
    const sample = sampleSlices(slices.length, profile).map((i) => slices[i]);
    normals.push(await evaluation.study(sample, mapValues));
  }
  const picture = referencePicture(model.imageSize);
  return addBundle(options.root, {
    schemaVersion: 1,
    name: options.profile,
    title: options.origin === 'trained' ? `QFAE ${options.profile}` : 'Scores mean nothing (UNTRAINED)',
    ...(options.note !== undefined && { note: options.note }),
    profile: { ...profile, name: options.profile },
    model,
    weights: frozen,
    heads: [{ name: 'qfae', weights: [head] }],
    calibration: fitCalibration(normals, mapValues, options.alpha),
    provenance: {
      software: options.software,
      origin: options.origin,
      seed: options.seed,
      trainingStudies: new Set(trained.map(({ study }) => study)).size,
      calibrationStudies: normals.length,
      studyHashes: [...new Set([...trained, ...heldOut].map(({ study }) => study))],
      ...(id === undefined ? {} : { predecessor: id }),
    },
    reference: storedReference(picture.pixels, await evaluation.score(picture)),
    metrics: {},
  });
}

/** The tensors of a head's weight file: what is trained, and the fixed positions. */
export function headTensors(
  model: ModelConfig,
  weights: ReadonlyMap<string, TensorValues>,
): Map<string, TensorValues> {
  const shapes = parameterShapes(model);
  const fixed = headParameters(model).filter(({ name }) => !isTrained(name));
  return new Map([
    ...weights,
    // They are computed; nothing is drawn.
    ...fixed.map(
      ({ name, shape }) => [name, { shape, values: initialValues(name, shapes, () => 0) }] as const,
    ),
  ]);
}
