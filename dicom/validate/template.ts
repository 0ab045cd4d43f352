import { DCM, QUALITATIVE_EVALUATIONS } from '../sr/code.ts';

/** A row of a template: a kind of content item that a container may or must have (PS3.16, section 6). */
export interface Row {
  concept: { value: string; scheme: string; meaning: string };
  relationship: string;
  valueType: string;
  /** How often it must and may occur. */
  least: number;
  most: number;
}

/** A template of DCMR, as far as it is checked: its rows are of the container that bears its name. */
export interface Template {
  identifier: string;
  root: { value: string; scheme: string; meaning: string };
  rows: Row[];
  /** Of these concepts at least one must be there. */
  oneOf?: Row['concept'][];
  /** Containers below which only such containers may stand. */
  only?: { within: Row['concept']; concept: Row['concept'] };
}

const row = (
  relationship: string,
  valueType: string,
  concept: Row['concept'],
  least: number,
  most: number,
): Row => ({ concept, relationship, valueType, least, most });

/** TID 1002 and 1004: who observed. */
const observationContext = [
  row('HAS OBS CONTEXT', 'CODE', DCM.observerType, 0, 1),
  row('HAS OBS CONTEXT', 'UIDREF', DCM.deviceObserverUID, 0, 1),
  row('HAS OBS CONTEXT', 'TEXT', DCM.deviceObserverName, 0, 1),
  row('HAS OBS CONTEXT', 'TEXT', DCM.deviceObserverManufacturer, 0, 1),
  row('HAS OBS CONTEXT', 'TEXT', DCM.deviceObserverModelName, 0, 1),
  row('HAS OBS CONTEXT', 'TEXT', DCM.deviceObserverSerialNumber, 0, 1),
];

/** What every measurement group has: who follows it, and by which algorithm it was made (TID 4019). */
const group = [
  row('HAS OBS CONTEXT', 'TEXT', DCM.trackingIdentifier, 1, 1),
  row('HAS OBS CONTEXT', 'UIDREF', DCM.trackingUniqueIdentifier, 1, 1),
  row('HAS CONCEPT MOD', 'TEXT', DCM.algorithmName, 0, 1),
  row('HAS CONCEPT MOD', 'TEXT', DCM.algorithmVersion, 0, Infinity),
];

/** TID 1500, 1410, 1411, 1501 and 2010, by identifier. */
export const TEMPLATES: Record<string, Template> = {
  1500: {
    identifier: '1500',
    root: DCM.imagingMeasurementReport,
    rows: [
      row('HAS CONCEPT MOD', 'CODE', DCM.language, 0, 1),
      row('HAS CONCEPT MOD', 'CODE', DCM.procedureReported, 1, Infinity),
      row('HAS OBS CONTEXT', 'CODE', DCM.observerType, 1, Infinity),
      ...observationContext.slice(1),
      row('CONTAINS', 'CONTAINER', DCM.imageLibrary, 1, 1),
      row('CONTAINS', 'CONTAINER', DCM.imagingMeasurements, 0, 1),
      row('CONTAINS', 'CONTAINER', DCM.derivedImagingMeasurements, 0, 1),
      row('CONTAINS', 'CONTAINER', QUALITATIVE_EVALUATIONS, 0, 1),
    ],
    oneOf: [DCM.imagingMeasurements, DCM.derivedImagingMeasurements, QUALITATIVE_EVALUATIONS],
    only: { within: DCM.imagingMeasurements, concept: DCM.measurementGroup },
  },
  1410: {
    identifier: '1410',
    root: DCM.measurementGroup,
    rows: [
      ...group,
      row('CONTAINS', 'CODE', DCM.finding, 0, 1),
      row('CONTAINS', 'SCOORD', DCM.imageRegion, 1, 1),
    ],
  },
  1411: {
    identifier: '1411',
    root: DCM.measurementGroup,
    rows: [
      ...group,
      row('CONTAINS', 'CODE', DCM.finding, 0, 1),
      row('CONTAINS', 'SCOORD', DCM.imageRegion, 0, Infinity),
      row('CONTAINS', 'IMAGE', DCM.referencedSegment, 0, 1),
    ],
    oneOf: [DCM.imageRegion, DCM.referencedSegment, DCM.volumeSurface],
  },
  1501: {
    identifier: '1501',
    root: DCM.measurementGroup,
    rows: [...group, row('CONTAINS', 'IMAGE', DCM.sourceOfMeasurement, 0, Infinity)],
  },
  2010: {
    identifier: '2010',
    root: DCM.ofInterest,
    rows: [
      row('HAS CONCEPT MOD', 'CODE', DCM.language, 0, 1),
      ...observationContext,
      row('HAS CONCEPT MOD', 'CODE', DCM.documentTitleModifier, 0, Infinity),
      row('CONTAINS', 'TEXT', DCM.keyObjectDescription, 0, 1),
    ],
  },
};

/** Templates of the measurement groups of TID 1500 (its row 9). */
export const GROUP_TEMPLATES = ['1410', '1411', '1501'];

/** What a key object document may be for (PS3.16 CID 7010). */
export const KEY_OBJECT_TITLES = new Set(
  (
    '113000 113001 113002 113003 113004 113005 113006 113007 113008 113009 113010 113013 113018 113020 113021 ' +
    '113030 113031 113032 113033 113034 113035 113036 113037 113038 113039'
  ).split(' '),
);

/** Of these, the ones that may be told more precisely (TID 2010, rows 2 and 3). */
export const MODIFIED_TITLES = new Set([DCM.rejectedForQualityReasons.value, '113010', '113013']);
