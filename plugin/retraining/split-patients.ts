import type { CachedSlice } from '../../training/slice-cache.ts';
import type { PatientCounts } from './data-set-check.ts';

/** The slices of a data set by what they are for; no patient is in two parts. */
export interface ThreeWaySplit {
  readonly training: readonly CachedSlice[];
  readonly calibration: readonly CachedSlice[];
  readonly evaluation: readonly CachedSlice[];
}

/**
 * Divides patients by their pseudonyms, which are random but always the same: the smallest of those of whom the promoted
 * bundle has seen nothing evaluate, so a patient who evaluated once does so again; the smallest others calibrate.
 *
 * @param seen studies in the promoted bundle's training manifest
 * @param fromScratch whether training begins with random weights; if not, only patients whom the bundle has not seen
 *   may calibrate
 * @throws Error if too few are unseen.
 */
export function splitPatients(
  slices: readonly CachedSlice[],
  counts: PatientCounts,
  seen: ReadonlySet<string>,
  fromScratch: boolean,
): ThreeWaySplit {
  const patients = unseenFirst(slices, seen);
  const evaluation = new Set(patients.unseen.slice(0, counts.evaluation));
  const rest = fromScratch ? [...patients.unseen, ...patients.seen].sort() : patients.unseen;
  const calibration = new Set(
    rest.filter((patient) => !evaluation.has(patient)).slice(0, counts.calibration),
  );
  if (evaluation.size < counts.evaluation || calibration.size < counts.calibration) {
    throw new Error(
      `too few studies: of ${patients.unseen.length} patients that the promoted bundle has not seen; ${counts.evaluation + counts.calibration} are needed to calibrate and to evaluate by`,
    );
  }
  const parts = Object.groupBy(slices, ({ patient }) =>
    evaluation.has(patient) ? 'evaluation' : calibration.has(patient) ? 'calibration' : 'training',
  );
  return {
    training: parts.training ?? [],
    calibration: parts.calibration ?? [],
    evaluation: parts.evaluation ?? [],
  };
}

/** The patients of slices, sorted: those of whom no study is in `seen`, and the others. */
export function unseenFirst(
  slices: readonly CachedSlice[],
  seen: ReadonlySet<string>,
): { unseen: string[]; seen: string[] } {
  const known = new Set(slices.filter(({ study }) => seen.has(study)).map(({ patient }) => patient));
  const all = [...new Set(slices.map(({ patient }) => patient))].sort();
  return {
    unseen: all.filter((patient) => !known.has(patient)),
    seen: all.filter((patient) => known.has(patient)),
  };
}
