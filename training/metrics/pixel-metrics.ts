import { connectedRegions } from './connected-regions.ts';

export interface PixelMetrics {
  readonly auroc: number;
  readonly averagePrecision: number;
  /** Area under the per-region overlap, over false-positive rates up to 0.3, as a fraction of the largest possible. */
  readonly pro: number;
}

/** Bits of a float32 that a bin keeps: sign, exponent and 13 of the mantissa. */
const KEPT_BITS = 22;
const BINS = 2 ** KEPT_BITS;

const MAX_FPR = 0.3;

/**
 * Pixel AUROC, average precision and PRO (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021,
 * section 4.2) of all pixels of a data set, pooled, in memory that does not grow with it (64 MiB): values are
 * counted in bins, each the float32 numbers that share their first 22 bits. Within a bin values differ by less than 1/8192
 * of themselves and count as equal; for values that float32 rounding or a model's noise already blurs more than
 * that, the metrics do not change. `binningError` bounds what AUROC may be off by.
 */
export class PixelMetricsAccumulator {
  readonly #normal = new Uint32Array(BINS);
  readonly #abnormal = new Uint32Array(BINS);
  /** Each region's pixels share a weight of one. */
  readonly #overlap = new Float64Array(BINS);
  #regions = 0;

  /**
   * Adds a map and its ground truth, both row-major with `columns` columns; a mask value other than 0 is abnormal.
   * Throws if they differ in size, or a map value is not a number.
   */
  add(map: Float32Array, mask: ArrayLike<number>, columns: number): void {
    if (map.length !== mask.length || map.length % columns !== 0) {
      throw new Error(`a map of ${map.length} pixels in ${columns} columns has a mask of ${mask.length}`);
    }
    const { labels, sizes } = connectedRegions(mask, columns);
    const bits = new Uint32Array(map.buffer, map.byteOffset, map.length);
    for (let i = 0; i < map.length; i++) {
      if (Number.isNaN(map[i])) throw new Error(`pixel ${i} of a map is not a number`);
      const bin = binOf(bits[i]);
      if (labels[i] === 0) this.#normal[bin] += 1;
      else {
        this.#abnormal[bin] += 1;
        this.#overlap[bin] += 1 / sizes[labels[i] - 1];
      }
    }
    this.#regions += sizes.length;
  }

  /** The metrics of what was added; undefined where all pixels are normal, or all abnormal. */
  metrics(): (PixelMetrics & { readonly binningError: number }) | undefined {
    const [abnormal, normal] = [total(this.#abnormal), total(this.#normal)];
    if (abnormal === 0 || normal === 0) return undefined;
    let [truePositives, falsePositives, overlap] = [0, 0, 0];
    let [area, ties, precisions, pro] = [0, 0, 0, 0];
    let [previousRate, previousOverlap] = [0, 0];
    for (let bin = BINS - 1; bin >= 0; bin--) {
      const [positives, negatives] = [this.#abnormal[bin], this.#normal[bin]];
      if (positives === 0 && negatives === 0) continue;
      area += negatives * (truePositives + positives / 2);
      ties += negatives * positives;
      truePositives += positives;
      falsePositives += negatives;
      precisions += (positives * truePositives) / (truePositives + falsePositives);

      overlap += this.#overlap[bin];
      const rate = falsePositives / normal;
      const meanOverlap = overlap / this.#regions;
      pro += clippedTrapezoid(previousRate, previousOverlap, rate, meanOverlap);
      [previousRate, previousOverlap] = [rate, meanOverlap];
    }
    const pairs = abnormal * normal;
    return {
      auroc: area / pairs,
      averagePrecision: precisions / abnormal,
      pro: pro / MAX_FPR,
      binningError: ties / pairs / 2,
    };
  }
}

/** The area below the line from (x0, y0) to (x1, y1), as far as x ≤ 0.3. */
function clippedTrapezoid(x0: number, y0: number, x1: number, y1: number): number {
  if (x0 >= MAX_FPR || x1 === x0) return 0;
  const end = Math.min(x1, MAX_FPR);
  const y = y0 + ((y1 - y0) * (end - x0)) / (x1 - x0);
  return ((end - x0) * (y0 + y)) / 2;
}

/** The first bits of a float32's order-preserving image in the unsigned numbers: greater values, later bins. */
function binOf(bits: number): number {
  const ordered = bits >>> 31 === 0 ? bits | 0x80000000 : ~bits;
  return ordered >>> (32 - KEPT_BITS);
}

function total(counts: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < counts.length; i++) sum += counts[i];
  return sum;
}
