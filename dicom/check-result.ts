import { stringOf } from './keyword.ts';
import type { ScoredSlice, ScoreValues, StudyResult } from './result.ts';
import { isUID } from './uid.ts';

/**
 * Throws where a result cannot become objects; the message names the field and, of a slice, its SOP Instance
 * UID. Each result object's constructor calls it, so there are no half-built objects.
 */
export function checkResult(result: StudyResult): void {
  ensure(result.slices.length > 0, 'a result needs at least one scored slice');
  const { performedAt, predecessor, algorithm } = result;
  ensure(!Number.isNaN(performedAt.getTime()), 'performedAt is no date');
  ensure(isUID(algorithm.deviceUID), 'algorithm.deviceUID is no UID');
  for (const name of ['manufacturer', 'modelName', 'softwareVersion', 'algorithmName'] as const) {
    ensure(algorithm[name] !== '', `algorithm.${name} is empty`);
  }
  ensure(algorithm.algorithmVersion !== '', 'algorithm.algorithmVersion is empty');
  ensure(result.bundleTitle.trim() !== '', 'bundleTitle is empty');
  ensure(
    result.falsePositiveRate > 0 && result.falsePositiveRate < 1,
    'falsePositiveRate lies outside of (0, 1)',
  );
  if (predecessor) {
    ensure(Object.values(predecessor).every(isUID), 'predecessor holds something that is no UID');
  }
  checkScore(result.study, 'study');
  const study = stringOf(result.slices[0].header, 'StudyInstanceUID');
  for (const slice of result.slices) {
    const where = `slice ${slice.slice.sopInstanceUID} frame ${slice.slice.frame}`;
    checkSlice(slice, where);
    ensure(stringOf(slice.header, 'StudyInstanceUID') === study, `${where} belongs to another study`);
  }
}

/** Throws where a scored slice cannot be drawn; `where` names it in the message. */
export function checkSlice({ slice, header, score, ...scored }: ScoredSlice, where: string): void {
  ensure(slice.rows > 0 && slice.columns > 0, `${where}: no rows or columns`);
  ensure(slice.pixels.length === slice.rows * slice.columns, `${where}: pixels are not rows × columns`);
  ensure(
    scored.map.length > 0 && scored.map.length === scored.mapRows * scored.mapColumns,
    `${where}: map is not mapRows × mapColumns`,
  );
  ensure(scored.map.every(Number.isFinite), `${where}: the map holds a value that is not finite`);
  ensure(
    Number.isFinite(scored.mapThreshold) && scored.mapThreshold > 0,
    `${where}: mapThreshold is not finite and above 0`,
  );
  ensure(scored.gridToSlice.every(Number.isFinite), `${where}: gridToSlice holds a value that is not finite`);
  for (const keyword of ['SOPClassUID', 'SOPInstanceUID', 'SeriesInstanceUID', 'StudyInstanceUID']) {
    ensure(isUID(stringOf(header, keyword) ?? ''), `${where}: header has no well-formed ${keyword}`);
  }
  ensure(
    stringOf(header, 'SOPInstanceUID') === slice.sopInstanceUID,
    `${where}: header is of another instance`,
  );
  checkScore(score, where);
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
