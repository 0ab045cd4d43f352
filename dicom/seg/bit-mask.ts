import { mapOnSlice } from '../writing/anomaly-map.ts';
import { checkHeatmap } from '../writing/check-result.ts';
import type { Heatmap } from '../result.ts';

/**
 * Where the map, on the slice's own grid, exceeds its threshold: a bit a pixel, row-major, the first pixel in the
 * lowest bit (PS3.5 8.1.1), ⌈rows × columns / 8⌉ bytes. Pixels outside of the map are 0.
 *
 * Throws where the heatmap is malformed.
 */
export function maskAboveThreshold(heatmap: Heatmap): Uint8Array {
  checkHeatmap(heatmap);
  const values = mapOnSlice(heatmap);
  const bits = new Uint8Array(Math.ceil(values.length / 8));
  for (let i = 0; i < values.length; i++) if (values[i] > heatmap.mapThreshold) bits[i >> 3] |= 1 << (i & 7);
  return bits;
}

/**
 * Masks of `size` bits each, one after the other without gaps: the frames of a binary segmentation may start
 * inside of a byte (PS3.5 8.1.1).
 */
export function joinMasks(masks: readonly Uint8Array[], size: number): Uint8Array {
  const joined = new Uint8Array(Math.ceil((masks.length * size) / 8));
  masks.forEach((mask, index) => {
    const start = index * size;
    const shift = start & 7;
    for (let i = 0; i < mask.length; i++) {
      const at = (start >> 3) + i;
      joined[at] |= mask[i] << shift;
      if (shift > 0 && at + 1 < joined.length) joined[at + 1] |= mask[i] >> (8 - shift);
    }
  });
  return joined;
}
