import { sourceReference } from './composite-object.ts';
import { functionalGroups } from './functional-group-sequences.ts';
import { frameAttributes } from '../functional-groups.ts';
import { referencedSeries, uniqueInstances } from './instance-references.ts';
import { type Attributes, dataSet, stringOf, stringsOf } from './keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import type { ScoredSlice } from '../result.ts';
import { copied } from './source-attributes.ts';
import { type Code, codeItem, DCM, QFAE_CODING_SCHEME } from '../sr/code.ts';

/** What tells the frames of one kind of derived object from those of another. */
export interface FrameKind {
  dimensionOrganizationUID: string;
  derivation: Code;
  /** Functional groups that all frames share. */
  shared: Attributes;
  /** Dimensions before the place of the frame, each of one index only: pointer and functional group, as tags. */
  leadingDimensions: [pointer: string, group: string][];
}

/** Of the source; the frames of one object share them. */
const LOSSY = ['LossyImageCompressionRatio', 'LossyImageCompressionMethod'];

/**
 * The modules that Segmentation and Parametric Map share (PS3.3 C.7.6.16, C.7.6.17, C.12.2): a frame for each of
 * `slices`, at the slice's own size and place, that names its source. Slices without a plane in space are told
 * apart by their place in the stack.
 *
 * Throws where the slices differ in size, or some have a plane in space and others none.
 */
export function derivedFrames(slices: readonly ScoredSlice[], kind: FrameKind): DicomJson {
  const [{ slice: first }] = slices;
  if (slices.some(({ slice }) => slice.rows !== first.rows || slice.columns !== first.columns)) {
    throw new RangeError('frames of one object cannot differ in rows or columns');
  }
  if (
    slices.some(({ slice }) => slice.geometry?.frameOfReferenceUID !== first.geometry?.frameOfReferenceUID)
  ) {
    throw new RangeError('frames of one object cannot differ in their frame of reference');
  }
  const positions = slices.map(({ slice }) => slice.geometry?.imagePositionPatient.join('\\'));
  // Phases of one plane have the same position: their place in the stack tells them apart.
  const byPosition = first.geometry !== undefined && new Set(positions).size === positions.length;
  const place: [string, string] = byPosition ? ['00200032', '00209113'] : ['00209057', '00209111'];
  const lossy = slices.find(({ header }) => stringOf(header, 'LossyImageCompression') === '01')?.header;
  return {
    ...dataSet({
      CodingSchemeIdentificationSequence: [QFAE_CODING_SCHEME],
      ReferencedSeriesSequence: referencedSeries(uniqueInstances(slices), 'ReferencedInstanceSequence'),
      FrameOfReferenceUID: first.geometry?.frameOfReferenceUID,
      PositionReferenceIndicator: first.geometry && [],
      NumberOfFrames: slices.length,
      Rows: first.rows,
      Columns: first.columns,
      SamplesPerPixel: 1,
      PhotometricInterpretation: 'MONOCHROME2',
      LossyImageCompression: lossy ? '01' : '00',
      DimensionOrganizationSequence: [{ DimensionOrganizationUID: kind.dimensionOrganizationUID }],
      DimensionIndexSequence: [...kind.leadingDimensions, place].map(([pointer, group]) => ({
        DimensionOrganizationUID: kind.dimensionOrganizationUID,
        DimensionIndexPointer: pointer,
        FunctionalGroupPointer: group,
      })),
    }),
    ...(lossy && copied(lossy, LOSSY)),
    ...functionalGroups(
      slices.map((scored, index) => ({
        ...kind.shared,
        ...plane(scored),
        FrameContentSequence: [
          {
            StackID: '1',
            InStackPositionNumber: index + 1,
            DimensionIndexValues: [...kind.leadingDimensions.map(() => 1), index + 1],
          },
        ],
        DerivationImageSequence: [
          {
            DerivationCodeSequence: [codeItem(kind.derivation)],
            SourceImageSequence: [
              {
                ...sourceReference(scored.header, scored.slice.frame),
                SpatialLocationsPreserved: 'YES',
                PurposeOfReferenceCodeSequence: [codeItem(DCM.sourceImage)],
              },
            ],
          },
        ],
      })),
    ),
  };
}

/** Plane Position, Plane Orientation and Pixel Measures (C.7.6.16.2.1, 3 and 4) of a slice, where it has them. */
function plane({ slice, header }: ScoredSlice): Attributes {
  if (!slice.geometry) return {};
  const { imagePositionPatient, imageOrientationPatient, pixelSpacing } = slice.geometry;
  const [thickness] = stringsOf(
    copied(frameAttributes(header, slice.frame), ['SliceThickness']),
    'SliceThickness',
  );
  return {
    PlanePositionSequence: [{ ImagePositionPatient: imagePositionPatient }],
    PlaneOrientationSequence: [{ ImageOrientationPatient: imageOrientationPatient }],
    PixelMeasuresSequence: [{ PixelSpacing: pixelSpacing, SliceThickness: thickness }],
  };
}
