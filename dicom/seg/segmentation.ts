import { checkResult } from '../writing/check-result.ts';
import { compositeAttributes, type ObjectKind, resultObject } from '../writing/composite-object.ts';
import { derivedFrames } from '../writing/derived-frames.ts';
import { dataSet } from '../writing/keyword.ts';
import type { ResultObject, StudyResult } from '../result.ts';
import { resultUid } from '../writing/result-uid.ts';
import { codeItem, DCM, QFAE, SCT } from '../sr/code.ts';
import { joinMasks } from './bit-mask.ts';

const SEGMENTATION: ObjectKind = {
  name: 'SEG',
  sopClassUID: '1.2.840.10008.5.1.4.1.1.66.4',
  modality: 'SEG',
  seriesNumber: 9703,
};

/**
 * The binary Segmentation object (PS3.3 A.51) of a result, of one segment: where the anomaly map exceeds its
 * threshold, small specks included. There is a frame for each slice that has such pixels; for every slice where
 * none has any, since an object needs frames.
 *
 * Throws where the result is incomplete or inconsistent; the message names what and where.
 *
 * @param masks of each slice of the result, as `maskAboveThreshold` makes them
 */
export function segmentation(result: StudyResult, masks: readonly Uint8Array[]): ResultObject {
  checkResult(result);
  const [{ header, slice }] = result.slices;
  const size = slice.rows * slice.columns;
  if (masks.length !== result.slices.length || masks.some(({ length }) => length !== Math.ceil(size / 8))) {
    throw new RangeError('a segmentation needs a mask of rows × columns bits for each slice');
  }
  const marked = result.slices.flatMap((scored, index) =>
    masks[index].some((byte) => byte !== 0) ? [{ scored, mask: masks[index] }] : [],
  );
  const frames = marked.length > 0 ? marked : result.slices.map((scored, i) => ({ scored, mask: masks[i] }));
  const { algorithm } = result;
  const dataset = {
    ...compositeAttributes(result, header, SEGMENTATION, 0),
    ...derivedFrames(
      frames.map(({ scored }) => scored),
      {
        dimensionOrganizationUID: resultUid(result, 'SEG dimensions'),
        derivation: DCM.segmentation,
        shared: { SegmentIdentificationSequence: [{ ReferencedSegmentNumber: 1 }] },
        leadingDimensions: [['0062000B', '0062000A']],
      },
    ),
    ...dataSet({
      ImageType: ['DERIVED', 'PRIMARY'],
      ContentLabel: 'ANOMALY',
      ContentDescription: 'Anomaly map above its threshold',
      ContentCreatorName: [],
      SegmentationType: 'BINARY',
      BitsAllocated: 1,
      BitsStored: 1,
      HighBit: 0,
      PixelRepresentation: 0,
      SegmentSequence: [
        {
          SegmentNumber: 1,
          SegmentLabel: 'Anomaly above threshold',
          SegmentDescription: 'Unusual for the model. Not for diagnostic use.',
          SegmentAlgorithmType: 'AUTOMATIC',
          SegmentAlgorithmName: algorithm.algorithmName,
          SegmentationAlgorithmIdentificationSequence: [
            {
              AlgorithmFamilyCodeSequence: [codeItem(DCM.artificialIntelligence)],
              AlgorithmName: algorithm.algorithmName,
              AlgorithmVersion: algorithm.algorithmVersion,
              AlgorithmSource: algorithm.manufacturer,
            },
          ],
          SegmentedPropertyCategoryCodeSequence: [codeItem(SCT.morphologicallyAbnormalStructure)],
          SegmentedPropertyTypeCodeSequence: [codeItem(QFAE.anomalousRegion)],
          TrackingID: 'Anomaly above threshold',
          TrackingUID: resultUid(result, 'segment'),
          // Orange (255, 140, 0): L* 69.5, a* 36.8, b* 75.5, scaled to 16 bits (PS3.3 C.10.7.1.1).
          RecommendedDisplayCIELabValue: [45545, 42321, 52179],
        },
      ],
    }),
  };
  const bytes = joinMasks(
    frames.map(({ mask }) => mask),
    size,
  );
  return resultObject(dataset, { '7FE00010': { vr: 'OB', bytes } });
}
