import { DicomError } from '../../dicom/reading/dicom-error.ts';
import { stringOf } from '../../dicom/reading/attribute.ts';
import type { DicomPool } from '../../dicom/pool.ts';
import type { Profile } from '../../inference/bundle/profiles.ts';
import type { InputSlice } from '../../inference/scorer.ts';
import { sampleSlices } from '../../inference/slice-sampling.ts';
import { readGreyPicture } from '../../training/pictures.ts';
import { presentSeries } from './candidate-series.ts';
import { selectSeries, type SourceInstance } from './series-selection.ts';
import { readSlices } from './series-slices.ts';

/** A study whose slices are read when they are asked for. */
export interface ReadableStudy {
  /** Whose it is; studies of one patient have the same. */
  readonly patient: string;
  readonly slices: () => AsyncIterable<InputSlice>;
}

/** DICOM files by study, each under its Study Instance UID. */
export type DicomStudies = ReadonlyMap<string, readonly SourceInstance[]>;

/** The DICOM files among `paths`, by study. Throws for one that is damaged; what is no DICOM is passed over. */
export async function dicomStudies(pool: DicomPool, paths: readonly string[]): Promise<DicomStudies> {
  const instances: SourceInstance[] = [];
  for (const path of paths) {
    try {
      instances.push({ path, header: await pool.readHeader(path) });
    } catch (error) {
      if (error instanceof DicomError && error.reason === 'not-dicom') continue;
      throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
    }
  }
  return Map.groupBy(instances, ({ header }) => header.studyInstanceUID);
}

/**
 * What a profile scores of a DICOM study, or why it does not. Who the patient is, Patient ID and its issuer say; a
 * study without is a patient of its own.
 */
export async function readableStudy(
  pool: DicomPool,
  profile: Profile,
  instances: readonly SourceInstance[],
): Promise<ReadableStudy | { reason: string }> {
  const series = await selectSeries(pool, profile, presentSeries(instances));
  if ('reason' in series) return series;
  return { patient: patientOf(instances[0]), slices: () => readSlices(pool, series) };
}

/** Who the patient is: Patient ID and its issuer; of a study without, the study. */
export function patientOf({ header: { dataset, studyInstanceUID } }: SourceInstance): string {
  const id = stringOf(dataset, '00100020')?.trim();
  return id ? JSON.stringify([id, stringOf(dataset, '00100021')]) : studyInstanceUID;
}

/** The pictures of each patient, in their order, as one study, of which the profile's sample is scored. */
export function pictureStudies(
  pictures: readonly { path: string; patient: string }[],
  profile: Profile,
): ReadableStudy[] {
  return [...Map.groupBy(pictures, ({ patient }) => patient)].map(([patient, ofPatient]) => ({
    patient,
    async *slices() {
      for (const i of sampleSlices(ofPatient.length, profile)) yield await readGreyPicture(ofPatient[i].path);
    },
  }));
}
