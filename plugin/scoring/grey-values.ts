import { ValueHistogram } from '../../dicom/decoding/value-histogram.ts';
import type { DicomPool, SliceOptions } from '../../dicom/pool.ts';
import type { Profile } from '../../inference/bundle/profiles.ts';
import type { Isolation, IsolationSource } from './isolation.ts';

/**
 * How the slices of a stack become grey, as a profile wants it. Percentiles of the series are those of all slices
 * of the stack, within the mask where there is one: its slices are read once for them, one by one.
 *
 * @returns the reason where the stack has no values
 */
export async function greyValues(
  pool: DicomPool,
  intensity: Profile['preprocessing']['intensity'],
  { instances }: Pick<IsolationSource, 'instances'>,
  { slices, maskOf, background }: Isolation,
  signal?: AbortSignal,
): Promise<SliceOptions | { reason: string }> {
  switch (intensity?.from) {
    case undefined:
    case 'image':
      return {};
    case 'stored':
      return { window: 'stored' };
    case 'window':
      return { window: { center: intensity.center, width: intensity.width } };
    case 'series': {
      const histogram = new ValueHistogram();
      for (const slice of slices) {
        signal?.throwIfAborted();
        const counted = {
          ...(maskOf && { mask: await maskOf(slice) }),
          ...(background && { background }),
        };
        histogram.add(await pool.readHistogram(instances[slice.index].path, slice.frame, counted));
      }
      const low = histogram.percentile(intensity.lowPercentile);
      const high = histogram.percentile(intensity.highPercentile);
      if (low === undefined || high === undefined || !(high > low)) {
        return { reason: 'all its values are the same' };
      }
      const window = { center: (low + high) / 2, width: high - low, voiLutFunction: 'LINEAR_EXACT' } as const;
      return { window };
    }
  }
}
