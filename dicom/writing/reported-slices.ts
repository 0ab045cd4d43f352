import type { ScoredSlice, StudyResult } from '../result.ts';

/** A scored slice and its place in `StudyResult.slices`, from 0. */
export interface ReportedSlice {
  scored: ScoredSlice;
  index: number;
}

/** The flagged slices in slice order; the one of the highest raw score (the first of several) if none is. */
export function reportedSlices(result: StudyResult): ReportedSlice[] {
  const all = result.slices.map((scored, index) => ({ scored, index }));
  const flagged = all.filter(({ scored }) => scored.score.flagged);
  if (flagged.length > 0) return flagged;
  return [
    all.reduce((best, each) => (each.scored.score.rawScore > best.scored.score.rawScore ? each : best)),
  ];
}
