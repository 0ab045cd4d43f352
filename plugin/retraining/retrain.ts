import { rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DicomPool } from '../../dicom/pool.ts';
import { addBundle, openBundle, promote, promotedBundle } from '../../inference/bundle/registry.ts';
import { removeBundle } from '../../inference/bundle/remove.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import { setShadow } from '../../inference/bundle/shadow.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { calibrationOf } from '../../inference/bundle/schema.ts';
import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import { FolderLockedError, lockFolder } from '../../inference/folder-lock.ts';
import { Scorer } from '../../inference/scorer.ts';
import type { ScorerOptions } from '../../inference/scorer.ts';
import { threshold } from '../../inference/calibration.ts';
import { batchesPerEpoch } from '../../training/batches.ts';
import { rank, rankingMetrics } from '../../training/metrics/ranking.ts';
import { judge, trialMetrics } from '../../training/promotion-gate.ts';
import type { BundleScores, Trial, Verdict } from '../../training/promotion-gate.ts';
import { readRecords } from '../../training/run-log.ts';
import type { StepRecord } from '../../training/run-log.ts';
import { SliceCache } from '../../training/slice-cache.ts';
import type { CachedSlice } from '../../training/slice-cache.ts';
import { anomalyKinds, type AnomalyKind } from '../../training/synthetic-anomaly.ts';
import { trainQfae } from '../../training/train-qfae.ts';
import type { QfaeTrainingOptions } from '../../training/train-qfae.ts';
import { logPath } from '../../training/trainer.ts';
import type { Archive } from '../archive/archive.ts';
import { version } from '../version.ts';
import { buildDataSet, cachePath } from './data-set.ts';
import { commonReasons, dataSetProblems, divide } from './data-set-check.ts';
import { onePerPatient, scoreStudies, scoreWithAnomalies } from './evaluate-bundle.ts';
import type { CachedStudy } from './evaluate-bundle.ts';
import { writeCard, type CardMetrics, type ModelCard } from './model-card.ts';
import { writeRunResult, type RetrainingRun, type RunResult } from './run-folder.ts';
import { splitPatients, unseenFirst, type ThreeWaySplit } from './split-patients.ts';
import { saltID, studySalt } from './study-salt.ts';
import type { StudyRecord } from './study-record.ts';

const onnxruntime = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };

/** Fewer labelled abnormal patients say too little: synthetic anomalies are evaluated by. */
const LABELLED = 10;

/** How long it is waited for another retraining to end. */
const lockMs = 120_000;

/** Points of a card's curve of the training loss. */
const CURVE_POINTS = 200;

export interface RetrainContext {
  /** Of the bundle registry. */
  readonly root: string;
  readonly archives: ReadonlyMap<string, Archive>;
  readonly pool: DicomPool;
  readonly scorer: ScorerOptions;
  /** Where is trained. */
  readonly provider: ExecutionProvider;
  /** Told when the steps of training are known. */
  readonly onPlan: (plan: { run: string; totalSteps: number }) => void;
  readonly onStudy: (record: StudyRecord, done: number, of: number) => void;
  readonly onStep: (record: StepRecord, totalSteps: number) => void;
  readonly onStage: (stage: 'data set' | 'training' | 'evaluation') => void;
}

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
 * A retraining from the first to the last step: data set, training, calibration, evaluation, gate, promotion. What an
 * earlier call has done is not done again. Returns undefined if the signal was aborted: the same call then goes on.
 *
 * @throws Error with the reason if it cannot be done: too few studies, mixed geometry, an archive that is away.
 */
export async function retrain(
  run: RetrainingRun,
  context: RetrainContext,
  signal: AbortSignal,
): Promise<RunResult | undefined> {
  const lock = await lockRuns(context.root, signal);
  try {
    context.onStage('data set');
    const prepared = await prepareData(run, context, signal);
    context.onStage('training');
    const trained = await trainOn(run, context, prepared, signal);
    if (!trained) return undefined;
    context.onStage('evaluation');
    return await evaluateAndRegister(run, context, prepared, trained, signal);
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  } finally {
    lock.release();
  }
}

/** One retraining at a time; one whose node was killed ends after its step, and is waited for. */
async function lockRuns(root: string, signal: AbortSignal): Promise<{ release(): void }> {
  const deadline = Date.now() + lockMs;
  for (;;) {
    try {
      return await lockFolder(join(root, 'runs'));
    } catch (error) {
      if (!(error instanceof FolderLockedError)) throw error;
      if (Date.now() > deadline)
        throw new Error('another retraining runs in this data folder', { cause: error });
      await sleep(500, undefined, { signal });
    }
  }
}

/** Builds the data set of a run and says whether it can be trained with. */
async function prepareData(
  { folder, request, chosen }: RetrainingRun,
  context: RetrainContext,
  signal: AbortSignal,
): Promise<PreparedData> {
  const { root, archives, pool, onStudy } = context;
  const base = await openBundle(root, request.bundle ?? request.profile);
  const promotedID = await promotedBundle(root, request.profile);
  const promoted = promotedID === undefined ? undefined : await openBundle(root, promotedID);
  const salt = await studySalt(root);
  const part = (name: StudyRecord['part'], studies: typeof chosen.normal, source = request.normal) =>
    buildDataSet({
      ...{ folder, part: name, studies, profile: base.profile, salt, archives, pool, onStudy, signal },
      ...(source.folder !== undefined && { files: source.folder }),
      ...(source.patientPattern !== undefined && { patientPattern: new RegExp(source.patientPattern) }),
    });
  const normal = await part('normal', chosen.normal);
  const abnormal = request.abnormal ? await part('abnormal', chosen.abnormal, request.abnormal) : [];

  const problems = dataSetProblems(normal);
  if (problems.length > 0 && (request.mixedGeometry === 'refuse' || !normal.some(isTaken))) {
    throw new Error(problems.join('; '));
  }
  const slices = limited(await slicesOf(folder, 'normal', normal), request.limit);
  const seen = new Set(promoted?.provenance.studyHashes);
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
    ...{ base, promoted, split },
    abnormal: onePerPatient(abnormalSlices),
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

/** How a run trains. */
export function trainingOptions(
  { folder, request }: Pick<RetrainingRun, 'folder' | 'request'>,
  { root, provider }: Pick<RetrainContext, 'root' | 'provider'>,
  base: string,
): QfaeTrainingOptions {
  const { profile, loss, epochs, batchSize, microBatch, rate, seed, alpha, checkpointEvery, threads } =
    request;
  return {
    ...{ root, base, profile, loss, epochs, batchSize, microBatch, seed, alpha, checkpointEvery, provider },
    cacheFolder: cachePath(folder, 'normal'),
    runFolder: join(folder, 'training'),
    continueBase: request.continue,
    maximumRate: rate,
    heldOut: request.calibration,
    ...(threads !== undefined && { threads }),
    software: `qfae ${version}`,
  };
}

async function trainOn(
  run: RetrainingRun,
  context: RetrainContext,
  { base, split }: PreparedData,
  signal: AbortSignal,
): Promise<Bundle | undefined> {
  const { epochs, batchSize } = run.request;
  const totalSteps = epochs * batchesPerEpoch(split.training.length, batchSize);
  context.onPlan({ run: run.folder, totalSteps });
  const parts = { train: split.training, heldOut: split.calibration };
  return trainQfae(
    trainingOptions(run, context, base.id),
    { base, split: parts, totalSteps },
    context.onStep,
    signal,
  );
}

async function evaluateAndRegister(
  run: RetrainingRun,
  context: RetrainContext,
  prepared: PreparedData,
  trained: Bundle,
  signal: AbortSignal,
): Promise<RunResult> {
  const { root } = context;
  const { folder, request } = run;
  const evaluated = await evaluate(run, context, prepared, trained, signal);
  const { verdict, candidate } = evaluated;
  const bundle = await registered(root, prepared.base, trained, candidate);

  const present = await promotedBundle(root, request.profile);
  const failed = verdict.conditions.filter(({ passed }) => !passed);
  const reason = !verdict.passed
    ? failed.map(({ name, finding }) => `${name}: ${finding}`).join('; ')
    : !request.promote
      ? 'the request wants no promotion'
      : present !== prepared.promoted?.id
        ? 'another bundle was promoted meanwhile'
        : null;
  const outcome = reason === null ? 'promoted' : 'candidate';
  await writeCard(root, {
    version: 1,
    bundle: bundle.id,
    profile: request.profile,
    base: prepared.base.id,
    comparedWith: prepared.promoted?.id ?? null,
    madeAt: new Date().toISOString(),
    versions: {
      qfae: version,
      node: process.versions.node,
      onnxruntime: onnxruntime.version,
    },
    request: cardRequest(run),
    data: prepared.data,
    curves: await curves(join(folder, 'training')),
    evaluatedBy: evaluated.evaluatedBy,
    candidate,
    promoted: evaluated.promoted,
    gate: verdict.conditions.map((condition) => ({ ...condition })),
    ...{ outcome, reason },
  });
  if (outcome === 'promoted') await promote(root, bundle.id);
  else if (request.shadow) await setShadow(root, bundle.id);
  const result: RunResult = { bundle: bundle.id, outcome, reason };
  await writeRunResult(folder, result);
  // Pixels of patients: nobody needs them any more.
  for (const path of [cachePath(folder, 'normal'), cachePath(folder, 'abnormal'), join(folder, 'work')]) {
    await rm(path, { recursive: true, force: true });
  }
  return result;
}

interface Evaluated {
  verdict: Verdict;
  evaluatedBy: ModelCard['evaluatedBy'];
  candidate: CardMetrics | null;
  promoted: CardMetrics | null;
}

/** Candidate and promoted bundle on the same held-out studies. */
async function evaluate(
  { folder, request }: RetrainingRun,
  context: RetrainContext,
  { promoted, split, abnormal }: PreparedData,
  trained: Bundle,
  signal: AbortSignal,
): Promise<Evaluated> {
  const { root } = context;
  const evaluatedBy = abnormal.length >= LABELLED ? 'labelled studies' : 'synthetic anomalies';
  const normals = onePerPatient(split.evaluation);
  const normalPatients = normals.map(({ patient }) => patient);
  const labelled = evaluatedBy === 'labelled studies';
  const abnormalPatients = labelled
    ? abnormal.map(({ patient }) => patient)
    : anomalyKinds.flatMap(() => normalPatients);
  const common = { normalPatients, abnormalPatients, alpha: request.alpha };

  const normalCache = await SliceCache.open(cachePath(folder, 'normal'));
  const abnormalCache = labelled ? await SliceCache.open(cachePath(folder, 'abnormal')) : undefined;
  try {
    const scoresOf = async (id: string): Promise<BundleScores & { byKind: Record<string, number> }> => {
      const scorer = await Scorer.open(root, id, context.scorer);
      try {
        const limit = bundleThreshold(scorer.bundle);
        if (abnormalCache) {
          const normal = await scoreStudies(scorer, normalCache, normals, signal);
          const scores = await scoreStudies(scorer, abnormalCache, abnormal, signal);
          return { normal, abnormal: scores, threshold: limit, byKind: {} };
        }
        const scores = await scoreWithAnomalies(scorer, normalCache, normals, request.seed, signal);
        return {
          normal: scores.normal,
          abnormal: anomalyKinds.flatMap((kind) => scores.abnormal[kind]),
          threshold: limit,
          byKind: Object.fromEntries(anomalyKinds.map((kind) => [kind, aurocOf(scores, kind)])),
        };
      } finally {
        await scorer.close();
      }
    };
    const damage = await verifyBundle(root, trained.id).then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    );
    const candidate = damage === undefined ? await scoresOf(trained.id) : undefined;
    if (!candidate || ![...candidate.normal, ...candidate.abnormal].every(Number.isFinite)) {
      const nothing = { normal: [], abnormal: [], threshold: 0 };
      const reason = damage ?? 'some of its scores are no numbers';
      const verdict = judge({ ...common, candidate: nothing, damage: reason }, request.gate);
      return { verdict, evaluatedBy, candidate: null, promoted: null };
    }
    const reference = promoted && (await scoresOf(promoted.id));
    const trial: Trial = {
      ...{ ...common, candidate },
      ...(reference && {
        promoted: {
          ...reference,
          sharedStudies: sharedStudies(promoted, normals),
          informed: promoted.provenance.origin !== 'untrained',
        },
      }),
    };
    const metrics = (scores: typeof candidate): CardMetrics => ({
      ...trialMetrics(trial, scores),
      aurocByKind: scores.byKind,
    });
    return {
      verdict: judge(trial, request.gate),
      evaluatedBy,
      candidate: metrics(candidate),
      promoted: reference ? metrics(reference) : null,
    };
  } finally {
    await normalCache.close();
    await abnormalCache?.close();
  }
}

/** Held-out studies that the promoted bundle has seen, in training or calibration. */
function sharedStudies({ provenance }: Bundle, studies: readonly CachedStudy[]): number {
  const seen = new Set(provenance.studyHashes);
  return studies.filter(({ slices }) => slices.some(({ study }) => seen.has(study))).length;
}

function aurocOf(
  { normal, abnormal }: Awaited<ReturnType<typeof scoreWithAnomalies>>,
  kind: AnomalyKind,
): number {
  const scores = [...normal, ...abnormal[kind]];
  if (!scores.every(Number.isFinite)) return NaN;
  return rankingMetrics(rank(scores, [...normal.map(() => 0), ...abnormal[kind].map(() => 1)])).auroc;
}

function bundleThreshold(bundle: Bundle): number {
  const { scores, alpha } = calibrationOf(bundle);
  return threshold(scores, alpha);
}

/** The trained bundle with its metrics and the mark of the salt; it takes the place of the one without. */
async function registered(
  root: string,
  base: Bundle,
  trained: Bundle,
  metrics: CardMetrics | null,
): Promise<Bundle> {
  const { id, ...manifest } = trained;
  const bundle = await addBundle(root, {
    ...manifest,
    provenance: { ...manifest.provenance, studySalt: saltID(await studySalt(root)), predecessor: base.id },
    metrics: metrics
      ? {
          auroc: metrics.auroc,
          aurocLower: metrics.aurocInterval[0],
          aurocUpper: metrics.aurocInterval[1],
          falsePositiveRate: metrics.falsePositiveRate,
          falsePositiveUpperBound: metrics.falsePositiveUpperBound,
          sensitivity: metrics.sensitivity,
        }
      : {},
  });
  if (bundle.id !== id) await removeBundle(root, id);
  return bundle;
}

/** The request as a card may show it: of its sources only the kinds, since queries and files may name patients. */
function cardRequest({ request }: RetrainingRun): Record<string, unknown> {
  const { normal, abnormal, ...rest } = request;
  return { ...rest, normal: Object.keys(normal), ...(abnormal && { abnormal: Object.keys(abnormal) }) };
}

async function curves(folder: string): Promise<ModelCard['curves']> {
  const records = await readRecords(logPath(folder));
  const points = (type: 'step' | 'evaluation') =>
    records.flatMap((record) =>
      record.type === type ? [[record.step, record.loss] as [number, number]] : [],
    );
  const steps = points('step');
  const every = Math.ceil(steps.length / CURVE_POINTS);
  return {
    training: steps.filter(([step], i) => step % every === 0 || i === steps.length - 1),
    heldOut: points('evaluation'),
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
  const cache = await SliceCache.open(cachePath(folder, part));
  await cache.close();
  return cache.slices.filter(({ study }) => taken.has(study));
}

/** The slices of at most `limit` studies, those of the smallest pseudonyms. */
function limited(slices: readonly CachedSlice[], limit: number | undefined): CachedSlice[] {
  const studies = [...new Set(slices.map(({ study }) => study))].sort();
  const kept = new Set(studies.slice(0, limit));
  return slices.filter(({ study }) => kept.has(study));
}

function countsOf(slices: readonly CachedSlice[]): ModelCard['data']['training'] {
  return {
    patients: new Set(slices.map(({ patient }) => patient)).size,
    studies: new Set(slices.map(({ study }) => study)).size,
    slices: slices.length,
  };
}
