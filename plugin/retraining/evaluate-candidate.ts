import { calibrationOf, type Bundle } from '../../inference/bundle/schema.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { threshold } from '../../inference/calibration.ts';
import { Scorer } from '../../inference/scorer.ts';
import { rank, rankingMetrics } from '../../training/metrics/ranking.ts';
import {
  judge,
  trialMetrics,
  type BundleScores,
  type Trial,
  type Verdict,
} from '../../training/promotion-gate.ts';
import { firstStudies, SliceCache, type CachedStudy } from '../../training/slice-cache.ts';
import { anomalyKinds, type AnomalyKind } from '../../training/synthetic-anomaly.ts';
import { cachePath } from './data-set.ts';
import { scoreStudies, scoreWithAnomalies } from './score-cached-studies.ts';
import type { CardMetrics, ModelCard } from './model-card.ts';
import type { PreparedData } from './prepare-data.ts';
import type { RetrainContext } from './retrain-context.ts';
import type { RetrainingRun } from './run-folder.ts';
import { isComparable, studySalt } from './study-salt.ts';

/** Fewer labelled abnormal patients say too little to decide: synthetic anomalies are evaluated by. */
const LABELLED = 10;

interface CandidateScores extends BundleScores {
  /** Of the labelled abnormal studies. */
  readonly known: readonly number[];
  /** AUROC of each kind of synthetic anomaly. */
  readonly byKind: Record<string, number>;
}

/** What the gate says of a candidate, and on what grounds. */
export interface Evaluated {
  verdict: Verdict;
  evaluatedBy: ModelCard['evaluatedBy'];
  candidate: CardMetrics | null;
  promoted: CardMetrics | null;
  /** On labelled studies that are too few to decide. */
  labelled: ModelCard['labelled'];
}

/** Candidate and promoted bundle on the same held-out studies. */
export async function evaluateCandidate(
  { folder, request }: RetrainingRun,
  context: RetrainContext,
  { promoted, split, abnormal }: PreparedData,
  trained: Bundle,
  signal: AbortSignal,
): Promise<Evaluated> {
  const { root } = context;
  const evaluatedBy = abnormal.length >= LABELLED ? 'labelled studies' : 'synthetic anomalies';
  const normals = firstStudies(split.evaluation);
  const normalPatients = normals.map(({ patient }) => patient);
  const labelled = evaluatedBy === 'labelled studies';
  const abnormalPatients = labelled
    ? abnormal.map(({ patient }) => patient)
    : anomalyKinds.flatMap(() => normalPatients);
  const common = { normalPatients, abnormalPatients, alpha: request.alpha };

  const normalCache = await SliceCache.open(cachePath(folder, 'normal'));
  const abnormalCache =
    abnormal.length > 0 ? await SliceCache.open(cachePath(folder, 'abnormal')) : undefined;
  try {
    const scoresOf = async (id: string): Promise<CandidateScores> => {
      const scorer = await Scorer.open(root, id, context.scorer);
      try {
        const limit = bundleThreshold(scorer.bundle);
        const known = abnormalCache ? await scoreStudies(scorer, abnormalCache, abnormal, signal) : [];
        if (labelled) {
          const normal = await scoreStudies(scorer, normalCache, normals, signal);
          return { normal, abnormal: known, known, threshold: limit, byKind: {} };
        }
        const scores = await scoreWithAnomalies(scorer, normalCache, normals, request.seed, signal);
        return {
          normal: scores.normal,
          abnormal: anomalyKinds.flatMap((kind) => scores.abnormal[kind]),
          known,
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
    if (
      !candidate ||
      ![candidate.normal, candidate.abnormal, candidate.known].flat().every(Number.isFinite)
    ) {
      const nothing = { normal: [], abnormal: [], threshold: 0 };
      const reason = damage ?? 'some of its scores are no numbers';
      const verdict = judge({ ...common, candidate: nothing, damage: reason }, request.gate);
      return { verdict, evaluatedBy, candidate: null, promoted: null, labelled: null };
    }
    const reference = promoted && (await scoresOf(promoted.id));
    const trial: Trial = {
      ...{ ...common, candidate },
      ...(reference && {
        promoted: {
          ...reference,
          sharedStudies: sharedStudies(promoted, normals, await studySalt(root)),
          informed: promoted.provenance.origin !== 'untrained',
        },
      }),
    };
    const metrics = (scores: CandidateScores): CardMetrics => ({
      ...trialMetrics(trial, scores),
      aurocByKind: scores.byKind,
    });
    const few = { ...trial, abnormalPatients: abnormal.map(({ patient }) => patient) };
    const labelledMetrics = (scores: CandidateScores): CardMetrics => ({
      ...trialMetrics(few, { ...scores, abnormal: scores.known }),
      aurocByKind: {},
    });
    return {
      verdict: judge(trial, request.gate),
      evaluatedBy,
      candidate: metrics(candidate),
      promoted: reference ? metrics(reference) : null,
      labelled:
        labelled || abnormal.length === 0
          ? null
          : {
              candidate: labelledMetrics(candidate),
              promoted: reference ? labelledMetrics(reference) : null,
            },
    };
  } finally {
    await normalCache.close();
    await abnormalCache?.close();
  }
}

/**
 * Held-out studies that the promoted bundle has seen, in training or calibration; undefined if its pseudonyms are not
 * those of this data folder, so that none would be known again.
 */
function sharedStudies(
  { provenance }: Bundle,
  studies: readonly CachedStudy[],
  salt: string,
): number | undefined {
  if (!isComparable(provenance, salt)) return undefined;
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
