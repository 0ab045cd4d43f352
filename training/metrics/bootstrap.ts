import { rank, rankingMetrics } from './ranking.ts';
import type { RankingMetrics } from './ranking.ts';

/** Numbers drawn uniformly from [0, 1). */
type Random = () => number;

/** From the lower to the upper end. */
export type Interval = readonly [number, number];

export interface BootstrapOptions {
  readonly resamples?: number;
  /** Probability with which the interval is meant to hold the value. */
  readonly confidence?: number;
  readonly seed?: number;
}

export interface EvaluatedCases {
  readonly scores: readonly number[];
  /** 1 abnormal, 0 normal. */
  readonly labels: readonly number[];
  /** Whose case it is. */
  readonly patients: readonly string[];
}

/**
 * Percentile bootstrap intervals (Efron & Tibshirani 1993, section 13.3) of AUROC and average precision. Patients
 * are drawn with replacement, each with all of its cases: images of one patient are alike, and drawing images
 * would give intervals that are too narrow. Draws that lack a class are drawn again. The same seed draws the same.
 */
export function bootstrapIntervals(
  { scores, labels, patients }: EvaluatedCases,
  { resamples = 2000, confidence = 0.95, seed = 1 }: BootstrapOptions = {},
): { auroc: Interval; averagePrecision: Interval } {
  const ranked = rank(scores, labels);
  if (new Set(labels).size < 2) throw new Error('intervals need normal and abnormal cases');
  const draw = patientDraws(patients, seed);
  const drawn: RankingMetrics[] = [];
  while (drawn.length < resamples) {
    const weights = draw();
    const metrics = rankingMetrics(ranked, inOrder(weights, ranked.order));
    if (!Number.isNaN(metrics.auroc)) drawn.push(metrics);
  }
  return {
    auroc: percentileInterval(
      drawn.map(({ auroc }) => auroc),
      confidence,
    ),
    averagePrecision: percentileInterval(
      drawn.map(({ averagePrecision }) => averagePrecision),
      confidence,
    ),
  };
}

/** Two models on the same cases. */
export interface PairedCases extends Omit<EvaluatedCases, 'scores'> {
  readonly candidate: readonly number[];
  readonly reference: readonly number[];
}

/** AUROC of a candidate less that of a reference. */
export interface AurocDifference {
  readonly difference: number;
  /** With probability `confidence` the difference is not below it (one-sided percentile bootstrap). */
  readonly lowerBound: number;
}

/**
 * The difference of two models' AUROC on the same cases, bootstrapped in pairs: each draw of patients counts for both,
 * so that what makes cases hard for either does not blur the difference.
 */
export function aurocDifference(
  { candidate, reference, labels, patients }: PairedCases,
  { resamples = 2000, confidence = 0.95, seed = 1 }: BootstrapOptions = {},
): AurocDifference {
  const [first, second] = [rank(candidate, labels), rank(reference, labels)];
  if (new Set(labels).size < 2) throw new Error('a difference needs normal and abnormal cases');
  const draw = patientDraws(patients, seed);
  const drawn: number[] = [];
  while (drawn.length < resamples) {
    const weights = draw();
    const [a, b] = [first, second].map(
      (ranked) => rankingMetrics(ranked, inOrder(weights, ranked.order)).auroc,
    );
    if (!Number.isNaN(a)) drawn.push(a - b);
  }
  return {
    difference: rankingMetrics(first).auroc - rankingMetrics(second).auroc,
    lowerBound: percentileInterval(drawn, 2 * confidence - 1)[0],
  };
}

/** Draws patients with replacement; each draw says how often each case counts. The array is used again. */
function patientDraws(patients: readonly string[], seed: number): () => Float64Array {
  const numbers = new Map([...new Set(patients)].map((patient, i) => [patient, i]));
  const ofPatient = Uint32Array.from(patients, (patient) => numbers.get(patient)!);
  const random = mulberry32(seed);
  const counts = new Float64Array(numbers.size);
  const weights = new Float64Array(patients.length);
  return () => {
    counts.fill(0);
    for (let i = 0; i < counts.length; i++) counts[Math.floor(random() * counts.length)] += 1;
    for (let i = 0; i < weights.length; i++) weights[i] = counts[ofPatient[i]];
    return weights;
  };
}

function inOrder(weights: Float64Array, order: Uint32Array): Float64Array {
  return Float64Array.from(order, (i) => weights[i]);
}

/** The middle part of the values that holds `confidence` of them. */
function percentileInterval(values: number[], confidence: number): Interval {
  const sorted = Float64Array.from(values).sort();
  const at = (fraction: number) => sorted[Math.round(fraction * (sorted.length - 1))];
  return [at((1 - confidence) / 2), at((1 + confidence) / 2)];
}

/** Tommy Ettinger's Mulberry32: small, and the same everywhere. */
function mulberry32(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
