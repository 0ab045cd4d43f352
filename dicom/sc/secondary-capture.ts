import { checkContext, checkSlice } from '../writing/check-result.ts';
import {
  compositeAttributes,
  type ObjectKind,
  resultObject,
  sourceReference,
} from '../writing/composite-object.ts';
import { type Attributes, dataSet, stringOf } from '../writing/keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import type { Heatmap, ResultContext, ResultObject, ScoredSlice } from '../result.ts';
import { copied } from '../writing/source-attributes.ts';
import { heatmapOverlay } from './heatmap-overlay.ts';
import { imagePlane } from './image-plane.ts';

const SECONDARY_CAPTURE: ObjectKind = {
  name: 'SC',
  sopClassUID: '1.2.840.10008.5.1.4.1.1.7',
  modality: 'OT',
  seriesNumber: 9702,
};

/** Of the source, where it has them: what the picture shares with the slice that it shows. */
const COPIED = [
  'BurnedInAnnotation',
  'RecognizableVisualFeatures',
  'LossyImageCompression',
  'LossyImageCompressionRatio',
  'LossyImageCompressionMethod',
];
/** Only of an image without a plane in space; with one, the pixel spacing is the plane's. */
const COPIED_WITHOUT_PLANE = [
  'PatientOrientation',
  'PixelSpacing',
  'PixelSpacingCalibrationType',
  'PixelSpacingCalibrationDescription',
  'PixelAspectRatio',
];
const COPIED_WITH_PLANE = ['SliceThickness', 'PositionReferenceIndicator'];

/**
 * The Secondary Capture Image object (PS3.3 A.8.1) of a slice: 8-bit RGB, single-frame, uncompressed, with the
 * heatmap over the slice at the slice's own size (`heatmapOverlay`).
 *
 * Throws where the result is incomplete or inconsistent; the message names what and where.
 *
 * @param index of the slice among the scored ones, from 0
 */
export function secondaryCapture(
  result: ResultContext,
  scored: ScoredSlice,
  index: number,
  heatmap: Heatmap,
): ResultObject {
  checkContext(result);
  checkSlice(result, scored);
  const { header, slice } = scored;
  const { rows, columns, pixels } = heatmapOverlay(heatmap, scored.score, result.bundleTitle);
  const dataset = {
    ...compositeAttributes(result, header, SECONDARY_CAPTURE, index),
    ...dataSet({
      ConversionType: 'WSD',
      ImageType: ['DERIVED', 'SECONDARY'],
      DerivationDescription:
        `Anomaly map over the source slice, opacity growing with the map; outlines at ${heatmap.mapThreshold}. ` +
        `${result.algorithm.algorithmName}, ${result.bundleTitle}. Not for diagnostic use.`,
      SourceImageSequence: [
        {
          ...sourceReference(header, slice.frame),
          SpatialLocationsPreserved: 'YES',
          PurposeOfReferenceCodeSequence: [
            {
              CodeValue: '121322',
              CodingSchemeDesignator: 'DCM',
              CodeMeaning: 'Source image for image processing operation',
            },
          ],
        },
      ],
      ReferencedSeriesSequence: [
        {
          SeriesInstanceUID: stringOf(header, 'SeriesInstanceUID')!,
          ReferencedInstanceSequence: [
            {
              ReferencedSOPClassUID: stringOf(header, 'SOPClassUID')!,
              ReferencedSOPInstanceUID: slice.sopInstanceUID,
            },
          ],
        },
      ],
      ...laterality(header),
      ...(slice.geometry ? imagePlane(slice.geometry) : { PatientOrientation: [] }),
      SamplesPerPixel: 3,
      PhotometricInterpretation: 'RGB',
      PlanarConfiguration: 0,
      Rows: rows,
      Columns: columns,
      BitsAllocated: 8,
      BitsStored: 8,
      HighBit: 7,
      PixelRepresentation: 0,
    }),
    ...copied(header, [...COPIED, ...(slice.geometry ? COPIED_WITH_PLANE : COPIED_WITHOUT_PLANE)]),
  };
  return resultObject(dataset, { '7FE00010': { vr: 'OB', bytes: pixels } });
}

/**
 * The side, said of the image: a series Laterality may stand only with paired body parts (PS3.3 C.7.3.1), and
 * which are paired is a table of its own (PS3.16 annex L). So Body Part Examined is not copied, and a Laterality
 * that is unknown is written empty.
 */
function laterality(header: DicomJson): Attributes {
  const side = stringOf(header, 'ImageLaterality') ?? stringOf(header, 'Laterality') ?? '';
  return ['R', 'L', 'U', 'B'].includes(side) ? { ImageLaterality: side } : { Laterality: [] };
}
