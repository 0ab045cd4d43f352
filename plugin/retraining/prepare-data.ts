import { openBundle, promotedBundle } from '../../inference/bundle/registry.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import { batchesPerEpoch } from '../../training/batches.ts';
import { firstStudies, SliceCache, type CachedSlice, type CachedStudy } from '../../training/slice-cache.ts';
import { baseBundle } from './base-bundle.ts';
import { commonReasons, dataSetProblems, divide } from './data-set-check.ts';
import { buildDataSet, cachePath, type DataSetOptions } from './data-set.ts';
import type { ModelCard } from './model-card.ts';
import { readPreparation, writePreparation, type Preparation } from './preparation.ts';
import type { RetrainContext } from './retrain-context.ts';
import type { StudySource } from './request.ts';
import type { RetrainingRun } from './run-folder.ts';
import { splitPatients, unseenFirst, type ThreeWaySplit } from './split-patients.ts';
import type { StudyRecord } from './study-record.ts';
import { isComparable, studySalt } from './study-salt.ts';

/** A data set that can be trained with. */
export interface PreparedData {
  readonly base: Bundle;
  /** The bundle that scores now, if one does. */
  readonly promoted: Bundle | undefined;
  readonly split: ThreeWaySplit;
  readonly abnormal: readonly CachedStudy[];
  readonly data: ModelCard['data'];
}

/**
 * The data set of a run, built at the first call, and whether it can be trained with. A run that goes on has the same
 * as before: only so do its steps fit together.
 */
export async function prepareData(
  run: RetrainingRun,
  context: RetrainContext,
  signal: AbortSignal,
): Promise<PreparedData> {
  const { folder } = run;
  const found = await readPreparation(folder);
  const preparation = found ?? (await prepare(run, context, signal));
  if (!found) await writePreparation(folder, preparation);
  const { parts, promoted, data } = preparation;
  const open = (id: string) =>
    openBundle(context.root, id).catch((error: unknown) => {
      throw new Error(
        `the run in ${folder} began with ${id} and cannot go on (${(error as Error).message}): remove the folder, and the same command begins anew`,
        { cause: error },
      );
    });
  const normal = await cachedSlices(folder, 'normal');
  const of = (slices: readonly CachedSlice[], studies: readonly string[]) => {
    const wanted = new Set(studies);
    return slices.filter(({ study }) => wanted.has(study));
  };
  return {
    base: await open(preparation.base),
    promoted: promoted === null ? undefined : await open(promoted),
    split: {
      training: of(normal, parts.training),
      calibration: of(normal, parts.calibration),
      evaluation: of(normal, parts.evaluation),
    },
    abnormal: firstStudies(
      parts.abnormal.length > 0 ? of(await cachedSlices(folder, 'abnormal'), parts.abnormal) : [],
    ),
    data,
  };
}

/** Builds the data set and divides it. */
async function prepare(
  { folder, request, chosen }: RetrainingRun,
  context: RetrainContext,
  signal: AbortSignal,
): Promise<Preparation> {
  const { root, archives, pool, onStudy } = context;
  const base = await baseBundle(root, request);
  const promotedID = await promotedBundle(root, request.profile);
  const promoted = promotedID === undefined ? undefined : await openBundle(root, promotedID);
  const salt = await studySalt(root);
  if (request.continue && !isComparable(base.provenance, salt)) {
    throw new Error(
      `bundle ${base.id} was made in another data folder: which of these studies it has seen cannot be told, so no retraining can go on from its weights`,
    );
  }
  const part = (name: StudyRecord['part'], source: StudySource, only: Partial<DataSetOptions>) =>
    buildDataSet({
      ...{ folder, part: name, studies: chosen[name], profile: base.profile, salt, archives, pool, onStudy },
      ...(source.folder !== undefined && { files: source.folder }),
      ...(source.patientPattern !== undefined && { patientPattern: new RegExp(source.patientPattern) }),
      ...{ ...only, signal },
    });
  const abnormal = request.abnormal ? await part('abnormal', request.abnormal, {}) : [];
  const normal = await part('normal', request.normal, {
    except: new Set(abnormal.map(({ study }) => study)),
    ...(request.limit !== undefined && { limit: request.limit }),
  });

  const problems = dataSetProblems(normal);
  if (problems.length > 0 && (request.mixedGeometry === 'refuse' || !normal.some(isTaken))) {
    throw new Error(problems.join('; '));
  }
  const slices = await slicesOf(folder, 'normal', normal);
  const seen = new Set([
    ...(promoted?.provenance.studyHashes ?? []),
    ...(request.continue ? base.provenance.studyHashes : []),
  ]);
  const { unseen, seen: known } = unseenFirst(slices, seen);
  const counts = divide(unseen.length + known.length, unseen.length, request);
  const split = splitPatients(slices, counts, seen, !request.continue);
  const steps = batchesPerEpoch(split.training.length, request.batchSize);
  if (steps === 0) {
    throw new Error(
      `too few studies: ${split.training.length} training slices do not fill a batch of ${request.batchSize}`,
    );
  }
  const abnormalSlices = await slicesOf(folder, 'abnormal', abnormal);
  return {
    ...{ base: base.id, promoted: promotedID ?? null },
    parts: {
      training: studiesOf(split.training),
      calibration: studiesOf(split.calibration),
      evaluation: studiesOf(split.evaluation),
      abnormal: studiesOf(abnormalSlices),
    },
    data: {
      training: countsOf(split.training),
      calibration: countsOf(split.calibration),
      evaluation: countsOf(split.evaluation),
      abnormal: countsOf(abnormalSlices),
      contradicted: chosen.contradicted,
      leftOut: [...normal, ...abnormal].filter((record) => !isTaken(record)).length,
      leftOutReasons: commonReasons([...normal, ...abnormal]),
    },
  };
}

const isTaken = ({ leftOut }: StudyRecord) => leftOut === undefined;

/** The slices of the studies that were taken; what a broken study left in the cache is in no record. */
async function slicesOf(
  folder: string,
  part: StudyRecord['part'],
  records: readonly StudyRecord[],
): Promise<CachedSlice[]> {
  const taken = new Set(records.flatMap(({ pseudonyms }) => pseudonyms?.study ?? []));
  if (taken.size === 0) return [];
  return (await cachedSlices(folder, part)).filter(({ study }) => taken.has(study));
}

async function cachedSlices(folder: string, part: StudyRecord['part']): Promise<readonly CachedSlice[]> {
  const cache = await SliceCache.open(cachePath(folder, part));
  await cache.close();
  return cache.slices;
}

/** The pseudonyms of the studies of slices. */
const studiesOf = (slices: readonly CachedSlice[]) => [...new Set(slices.map(({ study }) => study))];

function countsOf(slices: readonly CachedSlice[]): ModelCard['data']['training'] {
  return {
    patients: new Set(slices.map(({ patient }) => patient)).size,
    studies: new Set(slices.map(({ study }) => study)).size,
    slices: slices.length,
  };
}
