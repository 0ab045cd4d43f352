import { z } from 'zod';
import type { PooledValues } from './pooled-values.ts';
import { precisions } from './precision.ts';

const ascending = z
  .array(z.number())
  .refine((values) => values.every((value, i) => i === 0 || values[i - 1] <= value), 'must be ascending');

/** Scores of held-out normal studies, one of each patient, and what follows from them. */
export const calibrationSchema = z.strictObject({
  /** False-positive rate of the thresholds, as a fraction. */
  alpha: z.number().gt(0).lt(1),
  /** What the scores were computed in; `float32` if left out. */
  precision: z.enum(precisions).optional(),
  /** Study scores, ascending. */
  scores: ascending.min(1),
  /** The map value that the largest value of a normal study's maps exceeds with probability `alpha` at most. */
  mapThreshold: z.number(),
  /** Equally spaced quantiles of all map values, pooled, ascending: what a pixel is compared with. */
  pixelQuantiles: ascending.min(2),
});

export type Calibration = z.infer<typeof calibrationSchema>;

/** A score as a reader sees it. */
export interface CalibratedScore {
  readonly rawScore: number;
  readonly pValue: number;
  readonly percentile: number;
  readonly threshold: number;
  readonly flagged: boolean;
}

/**
 * Split-conformal p-value: (1 + #{calibration ≥ score}) / (n + 1). Under exchangeability P(p ≤ α) ≤ α
 * (Vovk et al., Algorithmic Learning in a Random World). `sorted` is ascending.
 */
export function pValue(sorted: ArrayLike<number>, score: number): number {
  return (1 + sorted.length - lowerBound(sorted, score)) / (sorted.length + 1);
}

/** 100·(1 − p). */
export function percentile(sorted: ArrayLike<number>, score: number): number {
  return 100 * (1 - pValue(sorted, score));
}

/**
 * The raw score above which p ≤ `alpha`, exactly: score > threshold ⇔ pValue(score) ≤ alpha. Throws if
 * alpha < 1/(n + 1), which no score could reach.
 */
export function threshold(sorted: ArrayLike<number>, alpha: number): number {
  const n = sorted.length;
  // p ≤ alpha ⇔ #{calibration ≥ score} < k, k the largest integer with k/(n + 1) ≤ alpha in the arithmetic of pValue.
  let k = Math.floor(alpha * (n + 1));
  if ((k + 1) / (n + 1) <= alpha) k += 1;
  if (k / (n + 1) > alpha) k -= 1;
  if (k < 1) {
    throw new Error(
      `a false-positive rate of ${alpha} needs at least ${Math.ceil(1 / alpha) - 1} normal studies for calibration, there are ${n}`,
    );
  }
  if (k > n) throw new Error(`a false-positive rate of ${alpha} would flag every study`);
  return sorted[n - k];
}

/** All five values of a score. */
export function calibrate(calibration: Calibration, rawScore: number): CalibratedScore {
  const { scores, alpha } = calibration;
  const limit = threshold(scores, alpha);
  return {
    rawScore,
    pValue: pValue(scores, rawScore),
    percentile: percentile(scores, rawScore),
    threshold: limit,
    flagged: rawScore > limit,
  };
}

/** Per-pixel conformal percentile of a map, against the pooled map values of normal studies. */
export function mapPercentiles(
  { pixelQuantiles }: Calibration,
  map: Float32Array,
): Float32Array<ArrayBuffer> {
  return Float32Array.from(map, (value) => percentile(pixelQuantiles, value));
}

/** One normal study: its score, and the largest value of its maps. */
export interface NormalStudy {
  readonly rawScore: number;
  readonly mapMaximum: number;
}

/**
 * One study of each patient, in the order of their first ones: the one with the highest score. Studies of one patient are alike, so they are not exchangeable with a new patient's; and a
 * table of patients' highest scores flags a new study no more often than one of single studies would.
 */
export function onePerPatient<Study extends Pick<NormalStudy, 'rawScore'>>(
  studies: readonly (Study & { readonly patient: string })[],
): Study[] {
  const highest = new Map<string, Study>();
  for (const study of studies) {
    const before = highest.get(study.patient);
    if (!before || study.rawScore > before.rawScore) highest.set(study.patient, study);
  }
  return [...highest.values()];
}

/**
 * Calibration from held-out normal studies, of which no patient may have two (`onePerPatient`), and the values of all
 * their maps. Throws if there are too few for the rate, or a score is not finite.
 */
export function fitCalibration(
  studies: readonly NormalStudy[],
  mapValues: PooledValues,
  alpha: number,
  quantiles = 1001,
): Calibration {
  const scores = Float64Array.from(studies, ({ rawScore }) => rawScore).sort();
  if (!scores.every(Number.isFinite)) throw new Error('a calibration score is not a finite number');
  const mapMaxima = Float64Array.from(studies, ({ mapMaximum }) => mapMaximum).sort();
  return {
    alpha,
    scores: [...scores],
    mapThreshold: threshold(mapMaxima, alpha),
    pixelQuantiles: mapValues.quantiles(quantiles),
  };
}

/** The number of values below `value` in an ascending array. */
function lowerBound(sorted: ArrayLike<number>, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
