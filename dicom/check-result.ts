import { stringOf } from './data-set.ts';
import type { ScoredSlice, ScoreValues, StudyResult } from './result.ts';
import { isUID } from './uid.ts';

/**
 * Throws where a result cannot become objects; the message names the field and, of a slice, its SOP Instance
 * UID. Each result object's constructor calls it, so there are no half-built objects.
 */
export function checkResult(result: StudyResult): void {
  require(result.slices.length > 0, 'a result needs at least one scored slice');
  const { performedAt, predecessor, algorithm } = result;
  require(!Number.isNaN(performedAt.getTime()), 'performedAt is no date');
  require(isUID(algorithm.deviceUID), 'algorithm.deviceUID is no UID');
  for (const name of ['manufacturer', 'modelName', 'softwareVersion', 'algorithmName'] as const) {
    require(algorithm[name] !== '', `algorithm.${name} is empty`);
  }
  require(algorithm.algorithmVersion !== '', 'algorithm.algorithmVersion is empty');
  require(result.bundleTitle.trim() !== '', 'bundleTitle is empty');
  require(result.falsePositiveRate > 0 &&
    result.falsePositiveRate < 1, 'falsePositiveRate lies outside of (0, 1)');
  if (predecessor) {
    require(Object.values(predecessor).every(isUID), 'predecessor holds something that is no UID');
  }
  checkScore(result.study, 'study');
  const study = stringOf(result.slices[0].header, 'StudyInstanceUID');
  for (const slice of result.slices) {
    const where = `slice ${slice.slice.sopInstanceUID} frame ${slice.slice.frame}`;
    checkSlice(slice, where);
    require(stringOf(slice.header, 'StudyInstanceUID') === study, `${where} belongs to another study`);
  }
}

/** Throws where a scored slice cannot be drawn; `where` names it in the message. */
export function checkSlice({ slice, header, score, ...scored }: ScoredSlice, where: string): void {
  require(slice.rows > 0 && slice.columns > 0, `${where}: no rows or columns`);
  require(slice.pixels.length === slice.rows * slice.columns, `${where}: pixels are not rows × columns`);
  require(scored.map.length > 0 &&
    scored.map.length === scored.mapRows * scored.mapColumns, `${where}: map is not mapRows × mapColumns`);
  require(scored.map.every(Number.isFinite), `${where}: the map holds a value that is not finite`);
  require(Number.isFinite(scored.mapThreshold) &&
    scored.mapThreshold > 0, `${where}: mapThreshold is not finite and above 0`);
  require(scored.gridToSlice.every(
    Number.isFinite,
  ), `${where}: gridToSlice holds a value that is not finite`);
  for (const keyword of ['SOPClassUID', 'SOPInstanceUID', 'SeriesInstanceUID', 'StudyInstanceUID']) {
    require(isUID(stringOf(header, keyword) ?? ''), `${where}: header has no well-formed ${keyword}`);
  }
  require(stringOf(header, 'SOPInstanceUID') ===
    slice.sopInstanceUID, `${where}: header is of another instance`);
  checkScore(score, where);
}

function checkScore(score: ScoreValues, where: string): void {
  require(Number.isFinite(score.rawScore), `${where}: rawScore is not finite`);
  require(Number.isFinite(score.threshold), `${where}: threshold is not finite`);
  require(score.pValue > 0 && score.pValue <= 1, `${where}: pValue lies outside of (0, 1]`);
  require(score.percentile >= 0 && score.percentile < 100, `${where}: percentile lies outside of [0, 100)`);
}

function require(condition: boolean, message: string): void {
  if (!condition) throw new RangeError(message);
}
