import { checkResult } from '../writing/check-result.ts';
import {
  compositeAttributes,
  type ObjectKind,
  resultObject,
  sourceReference,
} from '../writing/composite-object.ts';
import type { Contour } from '../writing/contour.ts';
import { type Attributes, dataSet, itemsOf, stringOf } from '../writing/keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import { evidence, instanceReference, uniqueInstances } from '../writing/instance-references.ts';
import { type ReportedSlice, reportedSlices } from '../writing/reported-slices.ts';
import type { Algorithm, ResultObject, ScoredSlice, ScoreValues, StudyResult } from '../result.ts';
import { resultUid } from '../writing/result-uid.ts';
import {
  codeOf,
  DCM,
  ENGLISH,
  QFAE,
  QFAE_CODING_SCHEME,
  QUALITATIVE_EVALUATIONS,
  SCT,
  UCUM,
} from './code.ts';
import {
  closedPolyline,
  code,
  container,
  type ContentItem,
  image,
  measurement,
  text,
  uid,
} from './content-item.ts';
import { observer } from './observation-context.ts';

/** SOP classes for the report: the first is what IHE AIR names, the second what older viewers can show. */
export const REPORT_SOP_CLASSES = {
  'comprehensive-3d': '1.2.840.10008.5.1.4.1.1.88.34',
  comprehensive: '1.2.840.10008.5.1.4.1.1.88.33',
} as const;

/**
 * The measurement report of a result (PS3.16 TID 1500): the study's score under Derived Imaging Measurements,
 * and, for each reported slice, its score and an outline of each region above the map's threshold.
 *
 * Throws where the result is incomplete or inconsistent; the message names what and where.
 */
export function measurementReport(
  result: StudyResult,
  sopClass: keyof typeof REPORT_SOP_CLASSES = 'comprehensive-3d',
): ResultObject {
  checkResult(result);
  const header = result.slices[0].header;
  const kind: ObjectKind = {
    name: `SR ${sopClass}`,
    sopClassUID: REPORT_SOP_CLASSES[sopClass],
    modality: 'SR',
    seriesNumber: 9701,
  };
  return resultObject({
    ...compositeAttributes(result, header, kind, 0),
    ...dataSet({
      CompletionFlag: 'COMPLETE',
      VerificationFlag: 'UNVERIFIED',
      ReferencedPerformedProcedureStepSequence: [],
      PerformedProcedureCodeSequence: [],
      CurrentRequestedProcedureEvidenceSequence: evidence(uniqueInstances(result.slices)),
      PredecessorDocumentsSequence: predecessorDocuments(result, header),
      CodingSchemeIdentificationSequence: [QFAE_CODING_SCHEME],
      ...container(DCM.imagingMeasurementReport, content(result, header), '1500'),
      RelationshipType: undefined,
    }),
  });
}

function content(result: StudyResult, header: DicomJson): ContentItem[] {
  const { algorithm, study } = result;
  const regions = reportedSlices(result).flatMap((slice) => regionGroups(result, slice));
  return [
    code('HAS CONCEPT MOD', DCM.language, ENGLISH),
    ...observer(algorithm),
    ...proceduresReported(header),
    container(DCM.imageLibrary, [container(DCM.imageLibraryGroup, libraryImages(result.slices))]),
    // A container is never empty (C.17.3.2.4), and this one may be left out.
    ...(regions.length > 0 ? [container(DCM.imagingMeasurements, regions)] : []),
    container(DCM.derivedImagingMeasurements, [
      ...scoreItems(study, algorithmIdentification(algorithm)),
      measurement(QFAE.falsePositiveRate, result.falsePositiveRate, UCUM.noUnits),
      // Not among the Imaging Measurements: OHIF shows none of the regions if a group there has no coordinates.
      ...reportedSlices(result).map((slice) => sliceGroup(result, slice)),
    ]),
    container(QUALITATIVE_EVALUATIONS, [
      text(
        'CONTAINS',
        QFAE.restriction,
        'Not for diagnostic use. Scores and regions were computed without human review; they tell how unusual ' +
          'the images are for the model, not whether disease is present.',
      ),
      text('CONTAINS', QFAE.modelBundle, result.bundleTitle),
    ]),
  ];
}

/** The imaging procedures as the source names them, else imaging in general. */
function proceduresReported(header: DicomJson): ContentItem[] {
  const codes = itemsOf(header, 'ProcedureCodeSequence')
    .map(codeOf)
    .filter((each) => each !== undefined);
  return (codes.length > 0 ? codes : [SCT.imagingProcedure]).map((procedure) =>
    code('HAS CONCEPT MOD', DCM.procedureReported, procedure),
  );
}

/** Each scored source instance once (TID 1600, 1601). */
function libraryImages(slices: readonly ScoredSlice[]): ContentItem[] {
  return uniqueInstances(slices).map((header) => image('CONTAINS', undefined, instanceReference(header)));
}

/** A slice's score (TID 1501). */
function sliceGroup(result: StudyResult, { scored, index }: ReportedSlice): ContentItem {
  const source = sourceReference(scored.header, scored.slice.frame);
  const inferredFrom = image('INFERRED FROM', DCM.sourceOfMeasurement, source);
  return container(
    DCM.measurementGroup,
    [
      ...tracking(result, `Slice ${index + 1}`, 'slice', index),
      ...algorithmIdentification(result.algorithm),
      image('CONTAINS', DCM.sourceOfMeasurement, source),
      ...scoreItems(scored.score, [inferredFrom]),
      measurement(QFAE.mapThreshold, result.mapThreshold, UCUM.noUnits, [inferredFrom]),
    ],
    '1501',
  );
}

/** A planar region of interest (TID 1410) for each outline on a slice. */
function regionGroups(result: StudyResult, { scored, index }: ReportedSlice): ContentItem[] {
  const source = sourceReference(scored.header, scored.slice.frame);
  return scored.regions.map((contour, region) =>
    container(
      DCM.measurementGroup,
      [
        ...tracking(result, `Slice ${index + 1}, region ${region + 1}`, 'region', index, region),
        ...algorithmIdentification(result.algorithm),
        code('CONTAINS', DCM.finding, QFAE.anomalousRegion),
        closedPolyline(DCM.imageRegion, contour.points, image('SELECTED FROM', DCM.originalSource, source)),
        ...regionMeasurements(scored, contour),
      ],
      '1410',
    ),
  );
}

/** Tracking Identifier and Tracking Unique Identifier; the same in each report on the same computation. */
function tracking(result: StudyResult, name: string, kind: string, ...index: number[]): ContentItem[] {
  return [
    text('HAS OBS CONTEXT', DCM.trackingIdentifier, name),
    uid('HAS OBS CONTEXT', DCM.trackingUniqueIdentifier, resultUid(result, kind, ...index)),
  ];
}

/** TID 4019, which is not extensible: the manufacturer is the observer's. */
function algorithmIdentification(algorithm: Algorithm): ContentItem[] {
  return [
    text('HAS CONCEPT MOD', DCM.algorithmName, algorithm.algorithmName),
    text('HAS CONCEPT MOD', DCM.algorithmVersion, algorithm.algorithmVersion),
  ];
}

/** The five values of a score; `context` goes under each number. */
function scoreItems(score: ScoreValues, context: ContentItem[]): ContentItem[] {
  return [
    measurement(QFAE.rawScore, score.rawScore, UCUM.noUnits, context),
    measurement(QFAE.pValue, score.pValue, UCUM.noUnits, context),
    measurement(QFAE.percentile, score.percentile, UCUM.percent, context),
    measurement(QFAE.threshold, score.threshold, UCUM.noUnits, context),
    code('CONTAINS', QFAE.flagged, score.flagged ? SCT.yes : SCT.no),
  ];
}

function regionMeasurements({ slice }: ScoredSlice, { maximum, area }: Contour): ContentItem[] {
  const maximumItem = measurement(QFAE.mapMaximum, maximum, UCUM.noUnits);
  if (!slice.geometry) return [maximumItem];
  const [betweenRows, betweenColumns] = slice.geometry.pixelSpacing;
  return [maximumItem, measurement(SCT.area, area * betweenRows * betweenColumns, UCUM.squareMillimetre)];
}

/** The report that this one replaces: of the same study, in its own series. */
function predecessorDocuments({ predecessor }: StudyResult, header: DicomJson): Attributes[] | undefined {
  return (
    predecessor && [
      {
        StudyInstanceUID: stringOf(header, 'StudyInstanceUID')!,
        ReferencedSeriesSequence: [
          {
            SeriesInstanceUID: predecessor.seriesInstanceUID,
            ReferencedSOPSequence: [
              {
                ReferencedSOPClassUID: predecessor.sopClassUID,
                ReferencedSOPInstanceUID: predecessor.sopInstanceUID,
              },
            ],
          },
        ],
      },
    ]
  );
}
