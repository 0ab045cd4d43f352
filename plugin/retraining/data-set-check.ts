import { neededPatients } from '../../training/promotion-gate.ts';
import type { RetrainingRequest } from './request.ts';
import type { StackGeometry, StudyRecord } from './study-record.ts';

/** Slices of one data set may differ in extent by this factor, and in their distance by twice as much. */
const EXTENT_FACTOR = 1.5;
const SPACING_FACTOR = 3;

/** How the patients of a data set are divided. */
export interface PatientCounts {
  training: number;
  calibration: number;
  evaluation: number;
}

/**
 * How many patients go where.
 *
 * @param unseen those of whom the promoted bundle has seen nothing: only they can be held out to evaluate by.
 * @throws Error if there are too few.
 */
export function divide(
  patients: number,
  unseen: number,
  request: Pick<RetrainingRequest, 'alpha' | 'gate' | 'calibration' | 'evaluation'>,
): PatientCounts {
  const { alpha, gate } = request;
  const least = { calibration: Math.ceil(1 / alpha) - 1, evaluation: neededPatients(alpha, gate) };
  const evaluation = Math.max(least.evaluation, Math.ceil(request.evaluation * patients));
  const calibration = Math.max(least.calibration, Math.ceil(request.calibration * patients));
  const training = patients - calibration - evaluation;
  if (training < 1) {
    throw new Error(
      `too few studies: normal ones of ${patients} patients; ${calibration} are held out to calibrate and ${evaluation} to evaluate by, and at least one must be left to train with`,
    );
  }
  if (unseen < evaluation) {
    throw new Error(
      `too few studies: of ${unseen} patients that the promoted bundle has not seen; ${evaluation} are needed to evaluate by`,
    );
  }
  return { training, calibration, evaluation };
}

/**
 * What speaks against training with these studies, for people; nothing if nothing does. How many patients there must
 * be, `divide` says.
 */
export function dataSetProblems(records: readonly StudyRecord[]): string[] {
  const taken = records.filter(({ leftOut }) => leftOut === undefined);
  if (taken.length === 0 && records.length > 0) {
    return [`the profile scores none of the ${records.length} studies: ${commonReasons(records).join('; ')}`];
  }
  const stacks = taken.flatMap(({ geometry }) => geometry ?? []);
  return [
    mixture('modalities', stacks, ({ modality }) => modality),
    mixture('planes', stacks, ({ plane }) => plane),
    spread('extents', stacks, ({ extent }) => extent, EXTENT_FACTOR),
    spread('slice distances', stacks, ({ sliceSpacing }) => sliceSpacing, SPACING_FACTOR),
  ].flatMap((problem) => problem ?? []);
}

/** Why studies are left out, the commonest reason first, without what tells one study from another. */
export function commonReasons(records: readonly StudyRecord[]): string[] {
  const reasons = records.flatMap(({ leftOut }) => (leftOut === undefined ? [] : [withoutUIDs(leftOut)]));
  return [...Map.groupBy(reasons, (reason) => reason)]
    .sort(([, a], [, b]) => b.length - a.length)
    .slice(0, 5)
    .map(([reason, all]) => `${all.length} × ${reason}`);
}

/** A reason, without the UIDs in it. */
function withoutUIDs(reason: string): string {
  return reason.replaceAll(/\b\d+(\.\d+){5,}\b/g, '…');
}

function mixture(
  what: string,
  stacks: readonly StackGeometry[],
  of: (stack: StackGeometry) => string | undefined,
): string | undefined {
  const groups = [...Map.groupBy(stacks, (stack) => of(stack) ?? 'unknown')];
  if (groups.length < 2) return undefined;
  const counts = groups.map(([value, all]) => `${value} (${all.length} studies)`);
  return `mixed ${what}: ${counts.sort().join(', ')}`;
}

function spread(
  what: string,
  stacks: readonly StackGeometry[],
  of: (stack: StackGeometry) => number | undefined,
  factor: number,
): string | undefined {
  const values = stacks.flatMap((stack) => of(stack) ?? []).sort((a, b) => a - b);
  const [least, most] = [values[0], values[values.length - 1]];
  if (values.length === 0 || most <= factor * least) return undefined;
  return `mixed ${what}: ${least.toPrecision(3)} to ${most.toPrecision(3)} mm`;
}
