import { stringOf } from './keyword.ts';
import type { Heatmap, ResultContext, ScoredSlice, ScoreValues, StudyResult } from '../result.ts';
import { isUID } from '../uid.ts';

/**
 * Throws where a result cannot become objects; the message names the field and, of a slice, its SOP Instance
 * UID. Each result object's constructor calls it, so there are no half-built objects.
 */
export function checkResult(result: StudyResult): void {
  const first = result.slices[0];
  if (!first) throw new RangeError('a result needs at least one scored slice');
  checkContext(result);
  if (result.predecessor) {
    ensure(Object.values(result.predecessor).every(isUID), 'predecessor holds something that is no UID');
  }
  checkScore(result.study, 'study');
  const study = stringOf(first.header, 'StudyInstanceUID');
  for (const scored of result.slices) {
    checkSlice(result, scored);
    ensure(
      stringOf(scored.header, 'StudyInstanceUID') === study,
      `${nameOf(scored)} belongs to another study`,
    );
  }
}

/** Throws where what the objects of a result have in common is incomplete. */
export function checkContext({ algorithm, ...result }: ResultContext): void {
  ensure(!Number.isNaN(result.performedAt.getTime()), 'performedAt is no date');
  ensure(isUID(algorithm.deviceUID), 'algorithm.deviceUID is no UID');
  for (const name of [
    'manufacturer',
    'modelName',
    'softwareVersion',
    'algorithmName',
    'algorithmVersion',
  ] as const) {
    ensure(algorithm[name] !== '', `algorithm.${name} is empty`);
  }
  ensure(result.bundleTitle.trim() !== '', 'bundleTitle is empty');
  ensure(
    result.falsePositiveRate > 0 && result.falsePositiveRate < 1,
    'falsePositiveRate lies outside of (0, 1)',
  );
  ensure(isPositive(result.mapThreshold), 'mapThreshold is not finite and above 0');
}

/** Throws where a slice is not one that `result` was made from, or lacks what identifies it. */
export function checkSlice(result: ResultContext, scored: ScoredSlice): void {
  const { slice, header, score } = scored;
  const where = nameOf(scored);
  ensure(slice.rows > 0 && slice.columns > 0, `${where}: no rows or columns`);
  for (const keyword of ['SOPClassUID', 'SOPInstanceUID', 'SeriesInstanceUID', 'StudyInstanceUID']) {
    ensure(isUID(stringOf(header, keyword) ?? ''), `${where}: header has no well-formed ${keyword}`);
  }
  ensure(
    stringOf(header, 'SOPInstanceUID') === slice.sopInstanceUID,
    `${where}: header is of another instance`,
  );
  ensure(result.sourceUIDs.includes(slice.sopInstanceUID), `${where} is not among the sources`);
  checkScore(score, where);
}

/** Throws where a heatmap cannot be drawn. */
export function checkHeatmap(heatmap: Heatmap): void {
  const { rows, columns, pixels, map, mapRows, mapColumns, gridToSlice, mapThreshold } = heatmap;
  ensure(pixels.length === rows * columns, 'pixels are not rows × columns');
  ensure(map.length > 0 && map.length === mapRows * mapColumns, 'map is not mapRows × mapColumns');
  ensure(map.every(Number.isFinite), 'the map holds a value that is not finite');
  ensure(isPositive(mapThreshold), 'mapThreshold is not finite and above 0');
  ensure(gridToSlice.every(Number.isFinite), 'gridToSlice holds a value that is not finite');
}

function nameOf({ slice }: ScoredSlice): string {
  return `slice ${slice.sopInstanceUID} frame ${slice.frame}`;
}

function isPositive(value: number): boolean {
  return Number.isFinite(value) && value > 0;
}

function checkScore(score: ScoreValues, where: string): void {
  ensure(Number.isFinite(score.rawScore), `${where}: rawScore is not finite`);
  ensure(Number.isFinite(score.threshold), `${where}: threshold is not finite`);
  ensure(score.pValue > 0 && score.pValue <= 1, `${where}: pValue lies outside of (0, 1]`);
  ensure(score.percentile >= 0 && score.percentile < 100, `${where}: percentile lies outside of [0, 100)`);
}

function ensure(condition: boolean, message: string): void {
  if (!condition) throw new RangeError(message);
}
