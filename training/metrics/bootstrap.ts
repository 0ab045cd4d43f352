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
  const numbers = new Map([...new Set(patients)].map((patient, i) => [patient, i]));
  const ofPatient = Uint32Array.from(ranked.order, (i) => numbers.get(patients[i])!);
  if (new Set(labels).size < 2) throw new Error('intervals need normal and abnormal cases');
  const random = mulberry32(seed);
  const counts = new Float64Array(numbers.size);
  const weights = new Float64Array(scores.length);
  const drawn: RankingMetrics[] = [];
  while (drawn.length < resamples) {
    counts.fill(0);
    for (let i = 0; i < counts.length; i++) counts[Math.floor(random() * counts.length)] += 1;
    for (let i = 0; i < weights.length; i++) weights[i] = counts[ofPatient[i]];
    const metrics = rankingMetrics(ranked, weights);
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
