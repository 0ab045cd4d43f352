import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promotedBundle } from '../../inference/bundle/registry.ts';
import { Scorer } from '../../inference/scorer.ts';
import { batchesPerEpoch } from '../../training/batches.ts';
import { firstStudies, SliceCache } from '../../training/slice-cache.ts';
import { anomalyKinds } from '../../training/synthetic-anomaly.ts';
import { timeStep } from '../../training/train-qfae.ts';
import { baseBundle } from './base-bundle.ts';
import { dataSetProblems, divide } from './data-set-check.ts';
import { buildDataSet, cachePath, sourceCount } from './data-set.ts';
import { scoreStudies } from './score-cached-studies.ts';
import type { PatientCounts } from './data-set-check.ts';
import type { RetrainContext } from './retrain-context.ts';
import { trainingOptions } from './retrain.ts';
import type { RetrainingRun } from './run-folder.ts';
import { studySalt } from './study-salt.ts';

/** Studies that are fetched to see how long it takes. */
const SAMPLE = 3;

/** What a retraining would do, before it begins. */
export interface RetrainingPlan {
  base: string;
  promoted: string | null;
  normalStudies: number;
  abnormalStudies: number;
  /** If each study is another patient's. */
  patients: PatientCounts;
  totalSteps: number;
  /** What speaks against it, in the studies that were tried. */
  problems: string[];
  seconds: { dataSet: number; training: number; evaluation: number };
}

/**
 * What a run would do and how long it would take, from a few studies that are really fetched and scored and one
 * optimiser step that is really computed. Nothing of it is kept.
 *
 * @throws Error if it cannot be done.
 */
export async function planRetraining(
  { request, chosen }: Pick<RetrainingRun, 'request' | 'chosen'>,
  context: RetrainContext,
  work: string,
): Promise<RetrainingPlan> {
  const { root, archives, pool, onStudy } = context;
  const base = await baseBundle(root, request);
  const promoted = await promotedBundle(root, request.profile);
  const folder = join(work, randomUUID());
  const options = {
    ...{
      folder,
      part: 'normal' as const,
      profile: base.profile,
      salt: await studySalt(root),
      archives,
      pool,
    },
    ...(request.normal.folder !== undefined && { files: request.normal.folder }),
    ...(request.normal.patientPattern !== undefined && {
      patientPattern: new RegExp(request.normal.patientPattern),
    }),
    onStudy,
  };
  try {
    const begun = performance.now();
    const found = await sourceCount({ ...options, studies: chosen.normal });
    const normalStudies = Math.min(found, request.limit ?? Infinity);
    const patients = divide(normalStudies, normalStudies, request);
    const records = await buildDataSet({ ...options, studies: chosen.normal, first: SAMPLE });
    const secondsPerStudy = (performance.now() - begun) / 1000 / records.length;
    const problems = dataSetProblems(records);
    const taken = records.filter(({ leftOut }) => leftOut === undefined);
    if (taken.length === 0) throw new Error(problems.join('; '));
    const slicesPerStudy = taken.reduce((sum, { slices }) => sum + slices, 0) / taken.length;

    const secondsPerStep = await timeStep(trainingOptions({ folder, request }, context, base.id), { base });
    const perEpoch = batchesPerEpoch(Math.round(patients.training * slicesPerStudy), request.batchSize);
    const totalSteps = request.epochs * perEpoch;
    const secondsPerScoring = await timeScoring(context, promoted ?? base.id, cachePath(folder, 'normal'));
    const scorings = patients.calibration + 2 * patients.evaluation * (1 + anomalyKinds.length);
    return {
      ...{ base: base.id, promoted: promoted ?? null },
      ...{ normalStudies, abnormalStudies: chosen.abnormal.length, patients, totalSteps, problems },
      seconds: {
        dataSet: secondsPerStudy * (normalStudies + chosen.abnormal.length),
        training: secondsPerStep * totalSteps,
        evaluation: secondsPerScoring * scorings,
      },
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function timeScoring(
  { root, scorer: options }: RetrainContext,
  bundle: string,
  cacheFolder: string,
): Promise<number> {
  const cache = await SliceCache.open(cacheFolder);
  const scorer = await Scorer.open(root, bundle, options);
  try {
    const [study] = firstStudies(cache.slices);
    const begun = performance.now();
    await scoreStudies(scorer, cache, [study]);
    return (performance.now() - begun) / 1000;
  } finally {
    await scorer.close();
    await cache.close();
  }
}
