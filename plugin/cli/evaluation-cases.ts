import type { DicomPool } from '../../dicom/pool.ts';
import { planeGeometry } from '../../dicom/plane-geometry.ts';
import { allSegments, frameAt, liesAlong, resampleFrame } from '../../dicom/seg/read-segment.ts';
import type { Segment } from '../../dicom/seg/read-segment.ts';
import type { SeriesSlice } from '../../dicom/series.ts';
import type { Profile } from '../../inference/bundle/profiles.ts';
import type { InputSlice } from '../../inference/scorer.ts';
import { readGreyPicture } from '../../training/pictures.ts';
import { presentSeries } from '../scoring/candidate-series.ts';
import { rowsAndColumns } from '../scoring/isolation.ts';
import { patientOf } from '../scoring/readable-study.ts';
import type { DicomStudies } from '../scoring/readable-study.ts';
import { SEGMENTATION, selectSeries } from '../scoring/series-selection.ts';
import type { SelectedSeries, SourceInstance } from '../scoring/series-selection.ts';
import { readSlices } from '../scoring/series-slices.ts';
import type { EvaluationImage } from './evaluation-images.ts';

/** What has one score and a known answer: a picture, or a DICOM study, which scores as its highest slice. */
export interface EvaluationCase {
  readonly abnormal: boolean;
  /** Whose it is. */
  readonly patient: string;
  /** Whether a ground truth of its pixels was given. */
  readonly masked: boolean;
  readonly slices: () => AsyncIterable<EvaluatedSlice>;
}

export interface EvaluatedSlice extends InputSlice {
  /** Not 0 where it is abnormal, row by row; nowhere if left out. */
  readonly truth?: Uint8Array;
}

/** From here a byte of a mask is abnormal: values above 0.01, as in the released code. */
const MASK_FROM = 3;

/** A picture as a case. */
export function pictureCase({ path, abnormal, patient, mask }: EvaluationImage): EvaluationCase {
  return {
    abnormal,
    patient,
    masked: mask !== undefined,
    async *slices() {
      const picture = await readGreyPicture(path);
      const truth = mask === undefined ? undefined : (await readGreyPicture(mask)).pixels;
      yield { ...picture, ...(truth && { truth: truth.map((value) => (value < MASK_FROM ? 0 : 1)) }) };
    },
  };
}

/**
 * DICOM studies as cases; `leftOut` is told of those that the profile does not score. What any segment of the
 * Segmentations among `masks` marks is abnormal.
 *
 * @throws Error for a Segmentation that cannot be read, belongs to none of the studies, or lies elsewhere.
 */
export async function studyCases(
  pool: DicomPool,
  profile: Profile,
  studies: DicomStudies,
  abnormal: boolean,
  masks: DicomStudies,
  leftOut: (studyInstanceUID: string, reason: string) => void,
): Promise<EvaluationCase[]> {
  for (const [studyInstanceUID, [{ path }]] of masks) {
    if (!studies.has(studyInstanceUID)) {
      throw new Error(`${path}: its study ${studyInstanceUID} is not among the abnormal ones`);
    }
  }
  const cases: EvaluationCase[] = [];
  for (const [studyInstanceUID, instances] of studies) {
    const series = await selectSeries(pool, profile, presentSeries(instances));
    if ('reason' in series) {
      leftOut(studyInstanceUID, series.reason);
      continue;
    }
    const truthOf = segmented(pool, series, masks.get(studyInstanceUID) ?? []);
    cases.push({
      abnormal,
      patient: patientOf(instances[0]),
      masked: truthOf !== undefined,
      async *slices() {
        let next = 0;
        for await (const slice of readSlices(pool, series)) {
          const truth = await truthOf?.(series.slices[next++]);
          yield { ...slice, ...(truth && { truth }) };
        }
      },
    });
  }
  return cases;
}

/** What Segmentations mark in a slice of a series. */
function segmented(
  pool: DicomPool,
  { instances, slices }: SelectedSeries,
  masks: readonly SourceInstance[],
): ((slice: SeriesSlice) => Promise<Uint8Array>) | undefined {
  if (masks.length === 0) return undefined;
  const planeOf = ({ index, frame }: SeriesSlice) => planeGeometry(instances[index].header.dataset, frame);
  const first = planeOf(slices[0]);
  const found = masks.flatMap(({ path, header }) => {
    if (header.sopClassUID !== SEGMENTATION) throw new Error(`${path} is no Segmentation`);
    const segments = allSegments(header.dataset, header.numberOfFrames);
    if ('reason' in segments) throw new Error(`${path}: ${segments.reason}`);
    if (!first || !segments.every((segment) => liesAlong(segment, first))) {
      throw new Error(`${path} lies in another space than the slices of its study, or across them`);
    }
    // Planes between lesions are often missing: their distances do not tell how thick they are.
    return segments.map((segment): [string, Segment] => [
      path,
      { ...segment, spacing: segment.thickness ?? segment.spacing },
    ]);
  });
  return async (slice) => {
    const plane = planeOf(slice)!;
    const { rows, columns } = rowsAndColumns(instances[slice.index]);
    const truth = new Uint8Array(rows * columns);
    for (const [path, segment] of found) {
      const frame = frameAt(segment, plane);
      if (!frame) continue;
      const { bytes } = await pool.readFrame(path, frame.frame);
      resampleFrame(bytes, segment, frame, plane, { rows, columns }).forEach((value, i) => {
        if (value !== 0) truth[i] = 1;
      });
    }
    return truth;
  };
}
