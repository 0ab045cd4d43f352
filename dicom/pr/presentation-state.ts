import { checkResult } from '../writing/check-result.ts';
import {
  compositeAttributes,
  type ObjectKind,
  resultObject,
  sourceReference,
} from '../writing/composite-object.ts';
import { dateTime } from '../writing/date-time.ts';
import { frameAttributes } from '../functional-groups.ts';
import { type Attributes, dataSet, itemsOf, stringOf, stringsOf } from '../writing/keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import { referencedSeries } from '../writing/instance-references.ts';
import { type ReportedSlice, reportedSlices } from '../writing/reported-slices.ts';
import type { ResultObject, ScoredSlice, StudyResult } from '../result.ts';
import { copied } from '../writing/source-attributes.ts';

const PRESENTATION_STATE: ObjectKind = {
  name: 'PR',
  sopClassUID: '1.2.840.10008.5.1.4.1.1.11.1',
  modality: 'PR',
  seriesNumber: 9706,
};
const LAYER = 'ANOMALY';

/**
 * Grayscale Softcopy Presentation States (PS3.3 A.33.1) of the reported slices: the outlines of their regions and
 * their percentile as graphic annotations, in the window of the source. A state has one modality LUT and one
 * polarity for all its images, so there is one state for each of these that occurs. Slices in colour, and those
 * with tables in place of rescale and window, have none: what cannot be repeated is left out.
 *
 * Throws where the result is incomplete or inconsistent; the message names what and where.
 */
export function presentationStates(result: StudyResult): ResultObject[] {
  checkResult(result);
  const reported = reportedSlices(result).filter(({ scored }) => isPresentable(scored));
  const groups = Map.groupBy(reported, ({ scored }) => JSON.stringify(transformation(scored)));
  return [...groups.values()].map((slices, index) => presentationState(result, slices, index));
}

function isPresentable(scored: ScoredSlice): boolean {
  const attributes = attributesOf(scored);
  return (
    !['RGB', 'PALETTE COLOR'].includes(stringOf(attributes, 'PhotometricInterpretation') ?? '') &&
    !(stringOf(attributes, 'PhotometricInterpretation') ?? '').startsWith('YBR') &&
    ['ModalityLUTSequence', 'VOILUTSequence'].every((keyword) => itemsOf(attributes, keyword).length === 0)
  );
}

function presentationState(
  result: StudyResult,
  slices: readonly ReportedSlice[],
  index: number,
): ResultObject {
  const [{ scored: first }] = slices;
  const { DA, TM } = dateTime(result.performedAt, stringOf(first.header, 'TimezoneOffsetFromUTC'));
  return resultObject({
    ...compositeAttributes(result, first.header, PRESENTATION_STATE, index),
    ...dataSet({
      // Of unknown body parts unknown, as in the Secondary Captures.
      Laterality: [],
      PresentationCreationDate: DA,
      PresentationCreationTime: TM,
      ContentLabel: 'ANOMALY',
      ContentDescription: 'Outlines of unusual regions. Not for diagnostic use.',
      ContentCreatorName: [],
      ReferencedSeriesSequence: referencedImages(slices),
      DisplayedAreaSelectionSequence: slices.map(({ scored }) => displayedArea(scored)),
      GraphicLayerSequence: [
        {
          GraphicLayer: LAYER,
          GraphicLayerOrder: 1,
          GraphicLayerDescription: 'Unusual regions',
        },
      ],
      GraphicAnnotationSequence: slices.map(({ scored }) => annotation(scored)),
      SoftcopyVOILUTSequence: windows(slices),
    }),
    ...transformation(first),
  });
}

const attributesOf = ({ header, slice }: ScoredSlice): DicomJson => frameAttributes(header, slice.frame);

/** Modality LUT and Softcopy Presentation LUT modules (C.11.1, C.11.6); MONOCHROME1 is shown as it is, inverted. */
function transformation(scored: ScoredSlice): DicomJson {
  const attributes = attributesOf(scored);
  const rescale = copied(attributes, ['RescaleIntercept', 'RescaleSlope', 'RescaleType']);
  const inverse = stringOf(attributes, 'PhotometricInterpretation') === 'MONOCHROME1';
  return {
    ...(stringOf(rescale, 'RescaleIntercept') !== undefined &&
      stringOf(rescale, 'RescaleSlope') !== undefined && { ...dataSet({ RescaleType: 'US' }), ...rescale }),
    ...dataSet({ PresentationLUTShape: inverse ? 'INVERSE' : 'IDENTITY' }),
  };
}

/** The images that the state is for; of multi-frame ones those frames. */
function referencedImages(slices: readonly ReportedSlice[]): Attributes[] {
  const frames = Map.groupBy(slices, ({ scored }) => scored.slice.sopInstanceUID);
  const headers = [...frames.values()].map(([{ scored }]) => scored.header);
  return referencedSeries(headers, 'ReferencedImageSequence').map((series) => ({
    ...series,
    ReferencedImageSequence: (series['ReferencedImageSequence'] as Attributes[]).map((reference) => {
      const ofImage = frames.get(reference['ReferencedSOPInstanceUID'] as string)!;
      const references = ofImage.map(({ scored }) => sourceReference(scored.header, scored.slice.frame));
      return {
        ...reference,
        ReferencedFrameNumber:
          references[0]['ReferencedFrameNumber'] === undefined
            ? undefined
            : references.map(({ ReferencedFrameNumber: frame }) => frame as number),
      };
    }),
  }));
}

/** The whole image, in its own proportions (C.10.4). */
function displayedArea(scored: ScoredSlice): Attributes {
  const { slice, header } = scored;
  const attributes = copied(attributesOf(scored), ['PixelSpacing', 'ImagerPixelSpacing', 'PixelAspectRatio']);
  const [spacing, aspectRatio] = [
    slice.geometry?.pixelSpacing ??
      ['PixelSpacing', 'ImagerPixelSpacing']
        .map((keyword) => stringsOf(attributes, keyword))
        .find(({ length }) => length === 2),
    stringsOf(attributes, 'PixelAspectRatio'),
  ];
  return {
    ReferencedImageSequence: [sourceReference(header, slice.frame)],
    DisplayedAreaTopLeftHandCorner: [1, 1],
    DisplayedAreaBottomRightHandCorner: [slice.columns, slice.rows],
    PresentationSizeMode: 'SCALE TO FIT',
    PresentationPixelSpacing: spacing,
    PresentationPixelAspectRatio: spacing ? undefined : aspectRatio.length === 2 ? aspectRatio : [1, 1],
  };
}

/** Outlines in the image's continuous coordinates, and a line of text in the corner of the display (C.10.5). */
function annotation({ slice, header, score, regions }: ScoredSlice): Attributes {
  // Cut, not rounded: 99.97 is not the 100th percentile.
  const percentile = (Math.floor(score.percentile * 10) / 10).toFixed(1);
  return {
    ReferencedImageSequence: [sourceReference(header, slice.frame)],
    GraphicLayer: LAYER,
    GraphicObjectSequence:
      regions.length === 0
        ? undefined
        : regions.map(({ points }) => ({
            GraphicAnnotationUnits: 'PIXEL',
            GraphicDimensions: 2,
            NumberOfGraphicPoints: points.length + 1,
            GraphicData: [...points, points[0]].flat(),
            GraphicType: 'POLYLINE',
            GraphicFilled: 'N',
          })),
    TextObjectSequence: [
      {
        BoundingBoxAnnotationUnits: 'DISPLAY',
        UnformattedTextValue: `Slice percentile ${percentile}, ${score.flagged ? 'flagged' : 'not flagged'}. Not for diagnostic use.`,
        BoundingBoxTopLeftHandCorner: [0.02, 0.9],
        BoundingBoxBottomRightHandCorner: [0.98, 0.98],
        BoundingBoxTextHorizontalJustification: 'LEFT',
      },
    ],
  };
}

/** The windows of the images that have one (C.11.8); without any there is no Softcopy VOI LUT. */
function windows(slices: readonly ReportedSlice[]): Attributes[] | undefined {
  const items = slices.flatMap(({ scored }): Attributes[] => {
    const attributes = copied(attributesOf(scored), ['WindowCenter', 'WindowWidth', 'VOILUTFunction']);
    const [center, width] = [stringOf(attributes, 'WindowCenter'), stringOf(attributes, 'WindowWidth')];
    if (center === undefined || width === undefined) return [];
    return [
      {
        ReferencedImageSequence: [sourceReference(scored.header, scored.slice.frame)],
        WindowCenter: center,
        WindowWidth: width,
        VOILUTFunction: stringOf(attributes, 'VOILUTFunction'),
      },
    ];
  });
  return items.length > 0 ? items : undefined;
}
