import type { DicomJson } from '../../dicom/dicom-json.ts';

/** Attributes that the index keeps for each level: those of PS3.18 tables 10.6.1-5 and 10.6.3-3 to 10.6.3-5. */
export const indexedAttributes = {
  study: [
    '00080020', // StudyDate
    '00080030', // StudyTime
    '00080050', // AccessionNumber
    '00080090', // ReferringPhysicianName
    '00080201', // TimezoneOffsetFromUTC
    '00081030', // StudyDescription
    '00100010', // PatientName
    '00100020', // PatientID
    '00100030', // PatientBirthDate
    '00100040', // PatientSex
    '0020000D', // StudyInstanceUID
    '00200010', // StudyID
  ],
  series: [
    '00080021', // SeriesDate
    '00080031', // SeriesTime
    '00080060', // Modality
    '0008103E', // SeriesDescription
    '00180015', // BodyPartExamined
    '0020000E', // SeriesInstanceUID
    '00200011', // SeriesNumber
    '00400244', // PerformedProcedureStepStartDate
    '00400245', // PerformedProcedureStepStartTime
  ],
  instance: [
    '00080008', // ImageType
    '00080016', // SOPClassUID
    '00080018', // SOPInstanceUID
    '00200013', // InstanceNumber
    '00280008', // NumberOfFrames
    '00280010', // Rows
    '00280011', // Columns
    '00280100', // BitsAllocated
  ],
} as const;

export type Level = keyof typeof indexedAttributes;

/** The part of a data set that the index keeps at `level`, without the NUL characters that PostgreSQL refuses. */
export function attributesOf(level: Level, dataset: DicomJson): DicomJson {
  const kept = Object.fromEntries(
    indexedAttributes[level].flatMap((tag) => (dataset[tag] ? [[tag, dataset[tag]]] : [])),
  );
  return JSON.parse(JSON.stringify(kept).replaceAll('\\u0000', '')) as DicomJson;
}
