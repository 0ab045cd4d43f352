import { dictionaryEntry, stringOf } from './keyword.ts';
import { attributeOf } from '../reading/attribute.ts';
import type { DicomJson, DicomJsonAttribute, DicomJsonValue } from '../dicom-json.ts';
import { isUID } from '../uid.ts';
import { hasForm } from './value-form.ts';

/** Patient and General Study modules, type 2 (PS3.3 C.7.1.1, C.7.2.1): empty where the source has no value. */
const PATIENT_STUDY_TYPE_2 = [
  'PatientName',
  'PatientID',
  'PatientBirthDate',
  'PatientSex',
  'StudyDate',
  'StudyTime',
  'ReferringPhysicianName',
  'StudyID',
  'AccessionNumber',
];

/** Patient, General Study and Patient Study modules, type 3 and 1C (C.7.1.1, C.7.2.1, C.7.2.2). */
const PATIENT_STUDY_TYPE_3 = [
  'IssuerOfPatientID',
  'IssuerOfPatientIDQualifiersSequence',
  'TypeOfPatientID',
  'PatientBirthTime',
  'OtherPatientIDsSequence',
  'QualityControlSubject',
  'EthnicGroup',
  'PatientSpeciesDescription',
  'PatientSpeciesCodeSequence',
  'PatientBreedDescription',
  'PatientBreedCodeSequence',
  'BreedRegistrationSequence',
  'ResponsiblePerson',
  'ResponsiblePersonRole',
  'ResponsibleOrganization',
  'PatientIdentityRemoved',
  'DeidentificationMethod',
  'DeidentificationMethodCodeSequence',
  'StudyDescription',
  'IssuerOfAccessionNumberSequence',
  'PhysiciansOfRecord',
  'ProcedureCodeSequence',
  'PatientAge',
  'PatientSize',
  'PatientWeight',
  'PatientSexNeutered',
  'TimezoneOffsetFromUTC',
];

/**
 * The Patient and Study modules of a source instance, for an object of the same study. A value that lacks the
 * form of its VR is left out, never mended. Throws without a well-formed Study Instance UID.
 */
export function patientAndStudy(header: DicomJson): DicomJson {
  const studyInstanceUID = stringOf(header, 'StudyInstanceUID') ?? '';
  if (!isUID(studyInstanceUID)) throw new RangeError('the source has no well-formed StudyInstanceUID');
  return {
    ...Object.fromEntries(PATIENT_STUDY_TYPE_2.map(dictionaryEntry).map(({ tag, vr }) => [tag, { vr }])),
    ...copied(header, [...PATIENT_STUDY_TYPE_2, ...PATIENT_STUDY_TYPE_3, 'StudyInstanceUID']),
  };
}

/** Those attributes of `header` that have a value of the right form; the others are left out. */
export function copied(header: DicomJson, keywords: readonly string[]): DicomJson {
  const result: DicomJson = {};
  for (const { tag } of keywords.map(dictionaryEntry)) {
    const attribute = attributeOf(header, tag);
    if (attribute && isWellFormed(attribute)) result[tag] = attribute;
  }
  return result;
}

/** Binary values and URIs do not pass: none of the attributes that are copied holds one. */
function isWellFormed({ vr, Value }: DicomJsonAttribute): boolean {
  return Value !== undefined && Value.length > 0 && Value.every((value) => isWellFormedValue(vr, value));
}

function isWellFormedValue(vr: string, value: DicomJsonValue): boolean {
  if (value === null) return false;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value === 'string') return hasForm(vr, value);
  if (vr === 'PN') return Object.values(value as Record<string, string>).every((group) => hasForm(vr, group));
  // An empty attribute inside an item may be of type 2.
  return Object.values(value as DicomJson).every(
    (attribute) => !attribute.Value?.length || isWellFormed(attribute),
  );
}
