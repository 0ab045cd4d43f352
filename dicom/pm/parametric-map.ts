import { checkResult } from '../writing/check-result.ts';
import { compositeAttributes, type ObjectKind, resultObject } from '../writing/composite-object.ts';
import { derivedFrames } from '../writing/derived-frames.ts';
import { dataSet } from '../writing/keyword.ts';
import type { ResultObject, StudyResult } from '../result.ts';
import { resultUid } from '../writing/result-uid.ts';
import { codeItem, DCM, QFAE, SCT, UCUM } from '../sr/code.ts';

const PARAMETRIC_MAP: ObjectKind = {
  name: 'PMAP',
  sopClassUID: '1.2.840.10008.5.1.4.1.1.30',
  modality: 'OT',
  seriesNumber: 9704,
};

/** A value length is 32 bits wide and even (PS3.5 7.1). */
const GREATEST_LENGTH = 2 ** 32 - 2;

/** A result object whose frames are not held in memory. */
export interface ParametricMap extends Omit<ResultObject, 'bytes'> {
  /** The Part 10 file up to its frames: 4 × rows × columns × slices bytes that follow as the rest of the file. */
  head: Uint8Array;
}

/**
 * The Parametric Map object (PS3.3 A.75) of a result: for each slice a frame of 32-bit floats in [0, 1] on the
 * slice's own grid, the conformal percentile of each pixel / 100. Frames are large, so what is returned ends where
 * they begin: little-endian floats, row-major, in the order of `result.slices`.
 *
 * Throws where the result is incomplete or inconsistent, or too large for one object.
 */
export function parametricMap(result: StudyResult): ParametricMap {
  checkResult(result);
  const [{ header, slice }] = result.slices;
  const frameBytes = 4 * slice.rows * slice.columns * result.slices.length;
  if (frameBytes > GREATEST_LENGTH) {
    throw new RangeError(`${frameBytes} bytes of frames are too many for one parametric map`);
  }
  const dataset = {
    ...compositeAttributes(result, header, PARAMETRIC_MAP, 0),
    ...derivedFrames(result.slices, {
      dimensionOrganizationUID: resultUid(result, 'PMAP dimensions'),
      derivation: QFAE.anomalyMap,
      shared: {
        ParametricMapFrameTypeSequence: [{ FrameType: ['DERIVED', 'PRIMARY', 'VOLUME', 'NONE'] }],
        PixelValueTransformationSequence: [{ RescaleIntercept: 0, RescaleSlope: 1, RescaleType: 'US' }],
        FrameVOILUTSequence: [{ WindowCenter: 0.5, WindowWidth: 1, VOILUTFunction: 'LINEAR_EXACT' }],
        RealWorldValueMappingSequence: [
          {
            DoubleFloatRealWorldValueFirstValueMapped: 0,
            DoubleFloatRealWorldValueLastValueMapped: 1,
            RealWorldValueIntercept: 0,
            RealWorldValueSlope: 1,
            LUTExplanation: 'Conformal percentile of each pixel / 100',
            LUTLabel: 'PERCENTILE',
            MeasurementUnitsCodeSequence: [codeItem(UCUM.noUnits)],
            QuantityDefinitionSequence: [
              {
                ValueType: 'CODE',
                ConceptNameCodeSequence: [codeItem(SCT.quantity)],
                ConceptCodeSequence: [codeItem(DCM.saliency)],
              },
            ],
          },
        ],
      },
      leadingDimensions: [],
    }),
    ...dataSet({
      // Of unknown body parts unknown, as in the Secondary Captures.
      Laterality: [],
      ImageType: ['DERIVED', 'PRIMARY', 'VOLUME', 'NONE'],
      ContentLabel: 'ANOMALY_MAP',
      ContentDescription: 'Conformal percentile / 100. Not for diagnostic use.',
      ContentCreatorName: [],
      ContentQualification: 'RESEARCH',
      PixelPresentation: 'MONOCHROME',
      PresentationLUTShape: 'IDENTITY',
      BurnedInAnnotation: 'NO',
      RecognizableVisualFeatures: 'NO',
      AcquisitionContextSequence: [],
      BitsAllocated: 32,
    }),
  };
  // FloatPixelData comes last: its length is the last thing before the frames.
  const { bytes: head, ...object } = resultObject(dataset, {
    '7FE00008': { vr: 'OF', bytes: new Uint8Array(0) },
  });
  new DataView(head.buffer, head.byteOffset).setUint32(head.length - 4, frameBytes, true);
  return { ...object, head };
}

/** The bytes of a frame: percentiles in [0, 100] of each pixel, row-major, as 32-bit little-endian floats / 100. */
export function parametricMapFrame(percentiles: Float32Array): Uint8Array {
  const bytes = new Uint8Array(4 * percentiles.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < percentiles.length; i++) view.setFloat32(4 * i, percentiles[i] / 100, true);
  return bytes;
}
