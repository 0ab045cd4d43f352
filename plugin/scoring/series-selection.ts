import type { InstanceHeader } from '../../dicom/pool.ts';
import { orderSeries, type SeriesSlice } from '../../dicom/series.ts';
import { sampleSlices } from '../../inference/slice-sampling.ts';
import { isOwnResult } from './algorithm.ts';

/** An instance in a file. */
export interface SourceInstance {
  path: string;
  header: InstanceHeader;
}

/** A series that may be scored; its instances are read when its turn comes. */
export interface CandidateSeries {
  seriesInstanceUID: string;
  instanceCount: number;
  read(): Promise<SourceInstance[]>;
}

/** The series to be scored, its slices in spatial order. */
export interface SelectedSeries {
  instances: SourceInstance[];
  slices: SeriesSlice[];
}

/**
 * The series that a study is scored by: of those that are a stack of grey planes, the one with the most
 * instances (of several, the one of the smallest UID), thinned out as the profile says.
 *
 * @returns the reason where none fits.
 */
export async function selectSeries(
  candidates: CandidateSeries[],
  sampling: Parameters<typeof sampleSlices>[1],
): Promise<SelectedSeries | { reason: string }> {
  const reasons: string[] = [];
  const order = [...candidates].sort(
    (a, b) => b.instanceCount - a.instanceCount || (a.seriesInstanceUID < b.seriesInstanceUID ? -1 : 1),
  );
  for (const candidate of order) {
    const instances = (await candidate.read()).filter(({ header }) => !isOwnResult(header.dataset));
    const ordered = orderSeries(instances.map(({ header }) => header));
    if ('slices' in ordered)
      return {
        instances,
        slices: sampleSlices(ordered.slices.length, sampling).map((i) => ordered.slices[i]),
      };
    reasons.push(`series ${candidate.seriesInstanceUID}: ${ordered.reason}`);
  }
  return { reason: reasons.join('; ') || 'the study holds no images' };
}
