import { type Attributes, stringOf } from '../writing/keyword.ts';
import type { DicomJson } from '../dicom-json.ts';

/** A coded concept (PS3.3 8.8). */
export interface Code {
  value: string;
  scheme: string;
  meaning: string;
}

/** An item of a code sequence. */
export function codeItem({ value, scheme, meaning }: Code): Attributes {
  return { CodeValue: value, CodingSchemeDesignator: scheme, CodeMeaning: meaning };
}

/** The code in an item of a code sequence; `undefined` where it is not a complete short one. */
export function codeOf(item: DicomJson): Code | undefined {
  const value = stringOf(item, 'CodeValue');
  const scheme = stringOf(item, 'CodingSchemeDesignator');
  const meaning = stringOf(item, 'CodeMeaning');
  return value && scheme && meaning ? { value, scheme, meaning } : undefined;
}

const code = (scheme: string) => (value: string, meaning: string) =>
  ({ value, scheme, meaning }) satisfies Code;
const dcm = code('DCM');
const sct = code('SCT');
const ucum = code('UCUM');
const qfae = code('99QFAE');

/** Codes of PS3.16; viewers match on the meanings of those in TID 1500. */
export const DCM = {
  artificialIntelligence: dcm('123110', 'Artificial Intelligence'),
  algorithmName: dcm('111001', 'Algorithm Name'),
  algorithmVersion: dcm('111003', 'Algorithm Version'),
  comment: dcm('121106', 'Comment'),
  derivedImagingMeasurements: dcm('126011', 'Derived Imaging Measurements'),
  device: dcm('121007', 'Device'),
  deviceObserverManufacturer: dcm('121014', 'Device Observer Manufacturer'),
  deviceObserverModelName: dcm('121015', 'Device Observer Model Name'),
  deviceObserverName: dcm('121013', 'Device Observer Name'),
  deviceObserverSerialNumber: dcm('121016', 'Device Observer Serial Number'),
  deviceObserverUID: dcm('121012', 'Device Observer UID'),
  documentTitleModifier: dcm('113011', 'Document Title Modifier'),
  finding: dcm('121071', 'Finding'),
  imageLibrary: dcm('111028', 'Image Library'),
  imageLibraryGroup: dcm('126200', 'Image Library Group'),
  imageRegion: dcm('111030', 'Image Region'),
  imagingMeasurementReport: dcm('126000', 'Imaging Measurement Report'),
  imagingMeasurements: dcm('126010', 'Imaging Measurements'),
  incorrectModalityWorklistEntry: dcm('113038', 'Incorrect Modality Worklist Entry'),
  keyObjectDescription: dcm('113012', 'Key Object Description'),
  language: dcm('121049', 'Language of Content Item and Descendants'),
  measurementGroup: dcm('125007', 'Measurement Group'),
  observerType: dcm('121005', 'Observer Type'),
  ofInterest: dcm('113000', 'Of Interest'),
  originalSource: dcm('111040', 'Original Source'),
  procedureReported: dcm('121058', 'Procedure reported'),
  referencedSegment: dcm('121191', 'Referenced Segment'),
  rejectedForPatientSafetyReasons: dcm('113037', 'Rejected for Patient Safety Reasons'),
  rejectedForQualityReasons: dcm('113001', 'Rejected for Quality Reasons'),
  saliency: dcm('130404', 'Saliency'),
  segmentation: dcm('113076', 'Segmentation'),
  sourceImage: dcm('121322', 'Source image for image processing operation'),
  sourceOfMeasurement: dcm('121112', 'Source of Measurement'),
  trackingIdentifier: dcm('112039', 'Tracking Identifier'),
  trackingUniqueIdentifier: dcm('112040', 'Tracking Unique Identifier'),
  volumeSurface: dcm('121231', 'Volume Surface'),
} as const;

export const QUALITATIVE_EVALUATIONS = code('UMLS')('C0034375', 'Qualitative Evaluations');
export const ENGLISH = code('RFC5646')('en', 'English');

export const SCT = {
  area: sct('42798000', 'Area'),
  imagingProcedure: sct('363679005', 'Imaging procedure'),
  morphologicallyAbnormalStructure: sct('49755003', 'Morphologically Abnormal Structure'),
  no: sct('373067005', 'No'),
  quantity: sct('246205007', 'Quantity'),
  yes: sct('373066001', 'Yes'),
} as const;

export const UCUM = {
  noUnits: ucum('1', 'no units'),
  percent: ucum('%', 'Percent'),
  squareMillimetre: ucum('mm2', 'square millimeter'),
} as const;

/** No standard has codes for the scores of an anomaly detector: our own, published in dicom/CODES.md. */
export const QFAE = {
  anomalyMap: qfae('ANOMALY_MAP', 'Anomaly map'),
  anomalousRegion: qfae('ANOMALOUS_REGION', 'Anomalous region'),
  falsePositiveRate: qfae('FPR', 'False-positive rate of the anomaly score threshold'),
  flagged: qfae('FLAGGED', 'Anomaly score above threshold'),
  mapMaximum: qfae('MAP_MAXIMUM', 'Maximum of the anomaly map in the region'),
  mapThreshold: qfae('MAP_THRESHOLD', 'Threshold of the anomaly map'),
  modelBundle: qfae('MODEL_BUNDLE', 'Model bundle'),
  percentile: qfae('PERCENTILE', 'Percentile of the anomaly score'),
  pValue: qfae('P_VALUE', 'Conformal p-value of the anomaly score'),
  rawScore: qfae('RAW_SCORE', 'Anomaly score'),
  restriction: qfae('RESTRICTION', 'Restriction of use'),
  threshold: qfae('THRESHOLD', 'Threshold of the anomaly score'),
} as const;

/** Declares the private scheme (Coding Scheme Identification Sequence, PS3.3 C.12.1.1.2). */
export const QFAE_CODING_SCHEME: Attributes = {
  CodingSchemeDesignator: '99QFAE',
  CodingSchemeUID: '2.25.285604409903182910446644945725784720149',
  CodingSchemeName: 'QFAE anomaly detection',
  CodingSchemeResponsibleOrganization: 'QFAE',
};
