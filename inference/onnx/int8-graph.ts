import { Graph } from './graph.ts';
import type { Tensor } from './tensor.ts';

/** Integers from -127 to 127: symmetric, so that zero stays zero. */
const LARGEST = 127;

/** Of a channel whose weights are all zero. */
const SMALLEST_SCALE = 1e-30;

/**
 * A graph whose products with weights are computed in 8-bit integers, everything else in float32: each output
 * channel of a weight has a scale of its own, fixed when the session opens (weights are stored as they are); the
 * other factor gets one for all of its rows in each run. So an image's result depends, by that rounding, on what
 * runs with it. For the CPU; a session that prepacks is several times as fast as one that does not.
 */
export class Int8Graph extends Graph {
  readonly #quantized = new Map<Tensor, { integers: Tensor; scales: Tensor }>();

  /** `b` holds weights. */
  override gemm(
    a: Tensor,
    b: Tensor,
    c?: Tensor,
    { transA = false, transB = false }: { transA?: boolean; transB?: boolean } = {},
  ): Tensor {
    const rows = transA ? this.transpose(a, [1, 0]) : a;
    const { integers, scales } = this.#quantize(b, transB ? 1 : 0);
    return this.dynamicQuantizeMatMul(rows, transB ? this.transpose(integers, [1, 0]) : integers, scales, c);
  }

  /**
   * Weights as integers, and a scale for each index of the axis that is not `inner`. onnxruntime computes both when
   * the session opens; no step on the way is as large as the weights.
   */
  #quantize(weight: Tensor, inner: number): { integers: Tensor; scales: Tensor } {
    const known = this.#quantized.get(weight);
    if (known) return known;
    const largest = this.max(this.reduceMax(weight, [inner]), this.neg(this.reduceMin(weight, [inner])));
    const scales = this.max(this.mul(largest, this.scalar(1 / LARGEST)), this.scalar(SMALLEST_SCALE));
    const quantized = { integers: this.quantizeLinear(weight, scales, 1 - inner), scales };
    this.#quantized.set(weight, quantized);
    return quantized;
  }
}
