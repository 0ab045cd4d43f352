import dcmjs from 'dcmjs';
import type { DicomJson, DicomJsonValue } from '../../dicom/dicom-json.ts';

/** Attributes that are counted, not read; of the study or of the series. */
const counted = [
  'NumberOfStudyRelatedSeries',
  'NumberOfStudyRelatedInstances',
  'NumberOfSeriesRelatedInstances',
];

/** What an archive knows of a study by all its series. */
const modalitiesInStudy = 'ModalitiesInStudy';

/** Value representations whose values cannot be written in a rule. */
const unwritable = new Set(['SQ', 'OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'UN', 'AT', 'ox']);

/** Attributes of the patient and the order, whose values are not told in explanations. */
const identifying =
  /^(Patient|OtherPatient|Person|Referring|Requesting|Physician|Performing|Operators|Accession|Responsible|Issuer|Admission|StudyID$|Military|Medical|Country|Region|Ethnic|Occupation|Admitting|Filler|Placer)/;
const notIdentifying = new Set([
  'PatientSex',
  'PatientAge',
  'PatientPosition',
  'PatientOrientation',
  'PatientSize',
  'PatientWeight',
  'AdmittingDiagnosesDescription',
]);

/** Whether values of an attribute may be told. */
export function isTellable(keyword: string): boolean {
  return !identifying.test(keyword) || notIdentifying.has(keyword);
}

/** Why rules cannot speak of an attribute; undefined if they can. */
export function whyNoCondition(keyword: string): string | undefined {
  if (counted.includes(keyword) || keyword === modalitiesInStudy) return undefined;
  const entry = dcmjs.data.DicomMetaDictionary.nameMap[keyword];
  if (!entry || !/^\([0-9A-F]{4},[0-9A-F]{4}\)$/i.test(entry.tag)) return 'no keyword of PS3.6';
  if (unwritable.has(entry.vr)) return `values of VR ${entry.vr} cannot be compared`;
  return undefined;
}

/** A series as rules see it. */
export interface SeriesAttributes {
  seriesInstanceUID: string;
  instanceCount: number;
  /** The header of one of its instances. */
  dataset: DicomJson;
}

/** The values of an attribute in a study: of all its series together, each once. */
export function valuesInStudy(keyword: string, series: readonly SeriesAttributes[]): (string | number)[] {
  const sum = series.reduce((total, { instanceCount }) => total + instanceCount, 0);
  if (keyword === 'NumberOfStudyRelatedSeries') return [series.length];
  if (keyword === 'NumberOfStudyRelatedInstances') return [sum];
  const ofSeries = keyword === modalitiesInStudy ? 'Modality' : keyword;
  return [...new Set(series.flatMap((one) => valuesInSeries(ofSeries, one)))];
}

/** The values of an attribute in a series: ages (AS) in years, names in their alphabetic form. */
export function valuesInSeries(
  keyword: string,
  { instanceCount, dataset }: SeriesAttributes,
): (string | number)[] {
  if (keyword === 'NumberOfSeriesRelatedInstances') return [instanceCount];
  const tag = dcmjs.data.DicomMetaDictionary.nameMap[keyword]?.tag.replace(/[(),]/g, '').toUpperCase();
  const attribute = tag === undefined ? undefined : dataset[tag];
  return (attribute?.Value ?? []).flatMap((value) => valueOf(value, attribute!.vr));
}

const yearsOf = { D: 365.25, W: 365.25 / 7, M: 12, Y: 1 };

function valueOf(value: DicomJsonValue, vr: string): (string | number)[] {
  if (typeof value === 'number') return [value];
  if (typeof value !== 'string') {
    const name = value?.['Alphabetic'];
    return typeof name === 'string' ? [name] : [];
  }
  const [, digits, unit] = (vr === 'AS' && /^(\d{3})([DWMY])$/.exec(value)) || [];
  if (digits !== undefined) return [Number(digits) / yearsOf[unit as keyof typeof yearsOf]];
  return value.trim() === '' ? [] : [value.trim()];
}
