import { itemsOf, stringOf } from '../writing/keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import type { ScoreValues } from '../result.ts';
import { type Code, codeOf, DCM, QFAE, SCT } from './code.ts';

/** The numbers in a measurement report, as they were written. */
export interface ReportedScores {
  study: ScoreValues;
  falsePositiveRate: number;
  /** The bundle's title and ID. */
  bundleTitle: string;
  algorithmVersion: string;
  /** Of the reported slices, in slice order. */
  slices: { sopInstanceUID: string; frame: number; score: ScoreValues; mapThreshold: number }[];
}

/**
 * The scores in a report that `measurementReport` wrote, of whatever version. Throws where the data set is no
 * such report or lacks a value; the message names the concept.
 */
export function readMeasurementReport(dataset: DicomJson): ReportedScores {
  const derived = only(dataset, DCM.derivedImagingMeasurements);
  const rawScore = only(derived, QFAE.rawScore);
  return {
    study: scoreIn(derived),
    falsePositiveRate: numberIn(derived, QFAE.falsePositiveRate),
    bundleTitle: textIn(
      itemsOf(dataset, 'ContentSequence').find((item) => named(item, QFAE.modelBundle).length > 0) ?? dataset,
      QFAE.modelBundle,
    ),
    algorithmVersion: textIn(rawScore, DCM.algorithmVersion),
    slices: named(derived, DCM.measurementGroup).map((group) => {
      const reference = firstItem(only(group, DCM.sourceOfMeasurement), 'ReferencedSOPSequence');
      return {
        sopInstanceUID: stringOf(reference, 'ReferencedSOPInstanceUID') ?? '',
        frame: Number(stringOf(reference, 'ReferencedFrameNumber') ?? 1),
        score: scoreIn(group),
        mapThreshold: numberIn(group, QFAE.mapThreshold),
      };
    }),
  };
}

function scoreIn(parent: DicomJson): ScoreValues {
  const flagged = codeOf(firstItem(only(parent, QFAE.flagged), 'ConceptCodeSequence'));
  return {
    rawScore: numberIn(parent, QFAE.rawScore),
    pValue: numberIn(parent, QFAE.pValue),
    percentile: numberIn(parent, QFAE.percentile),
    threshold: numberIn(parent, QFAE.threshold),
    flagged: flagged?.value === SCT.yes.value,
  };
}

function numberIn(parent: DicomJson, name: Code): number {
  const measured = firstItem(only(parent, name), 'MeasuredValueSequence');
  const value = stringOf(measured, 'FloatingPointValue') ?? stringOf(measured, 'NumericValue');
  if (value === undefined) throw new Error(`${name.meaning} has no value`);
  return Number(value);
}

function textIn(parent: DicomJson, name: Code): string {
  return stringOf(only(parent, name), 'TextValue') ?? '';
}

function only(parent: DicomJson, name: Code): DicomJson {
  const item = named(parent, name).at(0);
  if (!item)
    throw new Error(`no ${name.meaning} (${name.value}, ${name.scheme}) where a QFAE report has one`);
  return item;
}

/** The first item of a sequence; an empty one where there is none. */
function firstItem(parent: DicomJson, keyword: string): DicomJson {
  return itemsOf(parent, keyword).at(0) ?? {};
}

/** The children of a content item that bear a concept name. */
function named(parent: DicomJson, { value, scheme }: Code): DicomJson[] {
  return itemsOf(parent, 'ContentSequence').filter((item) =>
    itemsOf(item, 'ConceptNameCodeSequence')
      .map(codeOf)
      .some((name) => name?.value === value && name.scheme === scheme),
  );
}
