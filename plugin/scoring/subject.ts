import type { DicomJson } from '../../dicom/dicom-json.ts';
import { stringOf } from '../../dicom/reading/attribute.ts';

/** What a study is, without anything that names the patient. What its headers do not say is left out. */
export interface Subject {
  modality?: string;
  /** YYYY-MM-DD */
  studyDate?: string;
  studyDescription?: string;
  seriesDescription?: string;
  seriesInstanceUID?: string;
}

/** What the header of one instance says of study and series. */
export function subjectOf(dataset: DicomJson): Subject {
  const [, year, month, day] = /^(\d{4})\.?(\d\d)\.?(\d\d)$/.exec(stringOf(dataset, '00080020') ?? '') ?? [];
  const values: Record<keyof Subject, string | undefined> = {
    modality: stringOf(dataset, '00080060'),
    studyDate: year === undefined ? undefined : `${year}-${month}-${day}`,
    studyDescription: stringOf(dataset, '00081030'),
    seriesDescription: stringOf(dataset, '0008103E'),
    seriesInstanceUID: stringOf(dataset, '0020000E'),
  };
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value.replaceAll('\0', '')]],
    ),
  );
}
