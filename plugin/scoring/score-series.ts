import type { DicomPool } from '../../dicom/pool.ts';
import type { Heatmap, ScoredSlice, ScoreValues } from '../../dicom/result.ts';
import { contours } from '../../dicom/writing/contour.ts';
import { calibrationOf } from '../../inference/bundle/schema.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import type { InputSlice, Scorer, SliceScore } from '../../inference/scorer.ts';
import type { SelectedSeries } from './series-selection.ts';
import { readSlices, type MaskedSlice } from './series-slices.ts';

/** A series after scoring. */
export interface SeriesScore {
  /** In slice order. */
  slices: ScoredSlice[];
  study: ScoreValues;
}

/** A slice that is to be shown, with what its picture is drawn from. */
export interface ReportedSlice {
  scored: ScoredSlice;
  /** Its place among the scored slices, from 0. */
  index: number;
  heatmap: Heatmap;
  /** What the model made of the slice: 8-bit grey on the map's grid. */
  reconstruction: Uint8Array;
}

/** What is done with slices as soon as they are scored: pixels and maps are not kept. */
export interface Reporting {
  /** Which ones are shown. */
  slices: 'flagged' | 'all' | 'off';
  /** Takes every slice, in order. */
  each?(slice: ReportedSlice): Promise<void>;
  /** Takes the slices that are shown. */
  report(slice: ReportedSlice): Promise<void>;
}

/**
 * Decodes and scores the slices of a series, a few at a time. The flagged slices are reported as they come; where
 * none is flagged, the highest one at the end.
 *
 * @throws DicomError for a slice that cannot be decoded: a study is scored whole or not at all.
 */
export async function scoreSeries(
  pool: DicomPool,
  scorer: Scorer,
  series: SelectedSeries,
  reporting: Reporting,
  signal?: AbortSignal,
): Promise<SeriesScore> {
  const decoded: MaskedSlice[] = [];
  const slices: ScoredSlice[] = [];
  const scores: ScoreValues[] = [];
  let highest: ReportedSlice | undefined;
  for await (const score of scorer.score(decode(pool, series, decoded), signal)) {
    const { pixels, mask: _mask, ...slice } = decoded.shift()!;
    const heatmap = heatmapOf(score, { ...slice, pixels }, scorer.bundle);
    const index = slices.length;
    const scored: ScoredSlice = {
      slice,
      header: series.instances[series.slices[index].index].header.dataset,
      score: valuesOf(score),
      regions: contours(heatmap),
    };
    slices.push(scored);
    scores.push(scored.score);
    const reported = { scored, index, heatmap, reconstruction: score.reconstruction };
    await reporting.each?.(reported);
    if (reporting.slices === 'all' || (reporting.slices === 'flagged' && score.flagged)) {
      await reporting.report(reported);
    }
    if (!highest || score.rawScore > highest.scored.score.rawScore) highest = reported;
  }
  if (reporting.slices === 'flagged' && highest && !highest.scored.score.flagged) {
    await reporting.report(highest);
  }
  return { slices, study: valuesOf(scorer.studyScore(scores)) };
}

/** The slices of a series, decoded some ahead of their use; each is also put at the end of `decoded`. */
async function* decode(
  pool: DicomPool,
  series: SelectedSeries,
  decoded: MaskedSlice[],
): AsyncGenerator<MaskedSlice> {
  for await (const slice of readSlices(pool, series)) {
    decoded.push(slice);
    yield slice;
  }
}

/** What the picture of a slice is drawn from. */
export function heatmapOf(score: SliceScore, slice: InputSlice, bundle: Bundle): Heatmap {
  const { rows, columns, pixels } = slice;
  const { map, mapRows, mapColumns, gridToSlice } = score;
  const { mapThreshold } = calibrationOf(bundle);
  return { rows, columns, pixels, map, mapRows, mapColumns, gridToSlice, mapThreshold };
}

/** The values alone. */
export function valuesOf({ rawScore, pValue, percentile, threshold, flagged }: ScoreValues): ScoreValues {
  return { rawScore, pValue, percentile, threshold, flagged };
}
