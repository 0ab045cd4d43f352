import dcmjs from 'dcmjs';
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
    '00400275', // RequestAttributesSequence
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

/** From the outermost inwards. */
export const levels: Level[] = ['study', 'series', 'instance'];

/** Computed from the series, where a search matches or returns it. */
export const modalitiesInStudy = '00080061';

/** Attributes of a level that are not in the index, and can be returned: those of PS3.3 modules of the level. */
const otherAttributes: Record<Level, readonly string[]> = {
  study: [
    '0008009C', // ConsultingPhysicianName
    '00081032', // ProcedureCodeSequence
    '00081048', // PhysiciansOfRecord
    '00081060', // NameOfPhysiciansReadingStudy
    '00081080', // AdmittingDiagnosesDescription
    '00081110', // ReferencedStudySequence
    '00100021', // IssuerOfPatientID
    '00100024', // IssuerOfPatientIDQualifiersSequence
    '00100032', // PatientBirthTime
    '00101001', // OtherPatientNames
    '00101002', // OtherPatientIDsSequence
    '00101010', // PatientAge
    '00101020', // PatientSize
    '00101030', // PatientWeight
    '00102160', // EthnicGroup
    '00102180', // Occupation
    '001021B0', // AdditionalPatientHistory
    '00104000', // PatientComments
    '00120062', // PatientIdentityRemoved
    '00120063', // DeidentificationMethod
    '00321060', // RequestedProcedureDescription
  ],
  series: [
    '00080064', // ConversionType
    '00080070', // Manufacturer
    '00080080', // InstitutionName
    '00081010', // StationName
    '00081040', // InstitutionalDepartmentName
    '00081050', // PerformingPhysicianName
    '00081070', // OperatorsName
    '00081090', // ManufacturerModelName
    '0008103F', // SeriesDescriptionCodeSequence
    '00081111', // ReferencedPerformedProcedureStepSequence
    '00181000', // DeviceSerialNumber
    '00181020', // SoftwareVersions
    '00181030', // ProtocolName
    '00185100', // PatientPosition
    '00200052', // FrameOfReferenceUID
    '00200060', // Laterality
    '00400253', // PerformedProcedureStepID
    '00400254', // PerformedProcedureStepDescription
    '00400260', // PerformedProtocolCodeSequence
  ],
  instance: [],
};

/** The level that an attribute can be matched at; undefined where the index does not hold it. */
export function indexLevelOf(tag: string): Level | undefined {
  if (tag === modalitiesInStudy) return 'study';
  return levels.find((level) => (indexedAttributes[level] as readonly string[]).includes(tag));
}

/** The level that an attribute belongs to; what is not known of study or series belongs to the instance. */
export function levelOf(tag: string): Level {
  return indexLevelOf(tag) ?? levels.find((level) => otherAttributes[level].includes(tag)) ?? 'instance';
}

/** The tag of a keyword or of eight hexadecimal digits; undefined where PS3.6 knows no such keyword. */
export function tagOf(name: string): string | undefined {
  if (/^[0-9A-Fa-f]{8}$/.test(name)) return name.toUpperCase();
  return dcmjs.data.DicomMetaDictionary.nameMap[name]?.tag.replace(/[(),]/g, '').toUpperCase();
}

/** By the data dictionary of PS3.6; UN where it does not hold the tag. */
export function vrOf(tag: string): string {
  return dictionaryEntry(tag)?.vr ?? 'UN';
}

/** Value multiplicity as PS3.6 writes it: `1`, `1-n`. */
export function multiplicityOf(tag: string): string | undefined {
  return dictionaryEntry(tag)?.vm;
}

function dictionaryEntry(tag: string) {
  return dcmjs.data.DicomMetaDictionary.dictionary[`(${tag.slice(0, 4)},${tag.slice(4)})`];
}

/** The part of a data set that the index keeps at `level`, without the NUL characters that PostgreSQL refuses. */
export function indexedText(level: Level, dataset: DicomJson): string {
  const kept = Object.fromEntries(
    indexedAttributes[level].flatMap((tag) => (dataset[tag] ? [[tag, dataset[tag]]] : [])),
  );
  return JSON.stringify(kept).replaceAll('\\u0000', '');
}
