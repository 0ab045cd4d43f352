/** Scores of normal (label 0) and abnormal (label 1) cases, each with a weight: how often it counts. */
export interface RankedCases {
  /** Higher is more abnormal; in descending order. */
  readonly scores: Float64Array;
  readonly labels: Uint8Array;
}

export interface RankingMetrics {
  /** Area under the ROC curve: P(abnormal > normal) + ½ P(equal). */
  readonly auroc: number;
  /** Σ (R_k − R_{k−1}) P_k over the distinct scores from the highest, without interpolation (scikit-learn's). */
  readonly averagePrecision: number;
}

/**
 * Puts cases in the order in which `rankingMetrics` takes them. Throws if the lengths differ, a score is not a
 * finite number, or a label is neither 0 nor 1.
 */
export function rank(
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
): RankedCases & { order: Uint32Array } {
  if (scores.length !== labels.length) {
    throw new Error(`${scores.length} scores have ${labels.length} labels`);
  }
  for (let i = 0; i < scores.length; i++) {
    if (!Number.isFinite(scores[i])) throw new Error(`score ${i} is ${scores[i]}, which cannot be ranked`);
    if (labels[i] !== 0 && labels[i] !== 1) throw new Error(`label ${i} is ${labels[i]}, neither 0 nor 1`);
  }
  const order = Uint32Array.from(scores, (_, i) => i).sort((a, b) => scores[b] - scores[a]);
  return {
    order,
    scores: Float64Array.from(order, (i) => scores[i]),
    labels: Uint8Array.from(order, (i) => labels[i]),
  };
}

/**
 * AUROC and average precision of ranked cases; equal scores count as one step. `weights` says how often each case
 * counts, in their order; once if left out. Both are NaN where a class is missing.
 */
export function rankingMetrics({ scores, labels }: RankedCases, weights?: ArrayLike<number>): RankingMetrics {
  let [truePositives, falsePositives, area, precisions] = [0, 0, 0, 0];
  for (let i = 0; i < scores.length;) {
    let [positives, negatives] = [0, 0];
    const score = scores[i];
    for (; i < scores.length && scores[i] === score; i++) {
      const weight = weights ? weights[i] : 1;
      if (labels[i] === 1) positives += weight;
      else negatives += weight;
    }
    area += negatives * (truePositives + positives / 2);
    truePositives += positives;
    falsePositives += negatives;
    if (positives > 0) precisions += (positives * truePositives) / (truePositives + falsePositives);
  }
  if (truePositives === 0 || falsePositives === 0) return { auroc: NaN, averagePrecision: NaN };
  return { auroc: area / (truePositives * falsePositives), averagePrecision: precisions / truePositives };
}

/** The ROC curve from (0, 0) to (1, 1), a point for each distinct score. Throws where a class is missing. */
export function rocCurve({ scores, labels }: RankedCases): { fpr: number; tpr: number }[] {
  const positives = labels.reduce((sum, label) => sum + label, 0);
  const negatives = labels.length - positives;
  if (positives === 0 || negatives === 0) throw new Error('a ROC curve needs normal and abnormal cases');
  const points = [{ fpr: 0, tpr: 0 }];
  let [truePositives, falsePositives] = [0, 0];
  for (let i = 0; i < scores.length; i++) {
    if (labels[i] === 1) truePositives += 1;
    else falsePositives += 1;
    if (scores[i] !== scores[i + 1])
      points.push({ fpr: falsePositives / negatives, tpr: truePositives / positives });
  }
  return points;
}
