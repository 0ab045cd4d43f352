import { Graph } from './graph.ts';
import type { ElementType, Tensor } from './tensor.ts';

/**
 * A graph that computes in mixed precision, by the rules of PyTorch's autocast: matrix products take and give
 * float16; LayerNormalization, softmax, exponentials, roots and reductions float32; everything else the widest
 * type of its inputs, so that the residual stream stays in float32. Weights are stored as they are and cast when
 * the session opens. Beyond autocast, products with a constant of the graph (interpolations) stay in float32.
 *
 * Inputs and outputs are float32.
 */
export class HalfPrecisionGraph extends Graph {
  readonly #casts = new Map<Tensor, Tensor>();

  override matMul(a: Tensor, b: Tensor): Tensor {
    const type = this.#isConstant(a) || this.#isConstant(b) ? 'float32' : 'float16';
    return super.matMul(this.#as(a, type), this.#as(b, type));
  }

  override gemm(
    a: Tensor,
    b: Tensor,
    c?: Tensor,
    options: { transA?: boolean; transB?: boolean } = {},
  ): Tensor {
    return super.gemm(this.#half(a), this.#half(b), c && this.#half(c), options);
  }

  override layerNormalization(x: Tensor, scale: Tensor, bias: Tensor, epsilon: number): Tensor {
    return super.layerNormalization(this.#full(x), scale, bias, epsilon);
  }

  override softmax(x: Tensor): Tensor {
    return super.softmax(this.#full(x));
  }

  override exp(x: Tensor): Tensor {
    return super.exp(this.#full(x));
  }

  override sqrt(x: Tensor): Tensor {
    return super.sqrt(this.#full(x));
  }

  override reduceSum(x: Tensor, axes: readonly number[], keepDimensions = false): Tensor {
    return super.reduceSum(this.#full(x), axes, keepDimensions);
  }

  override reduceMean(x: Tensor, axes: readonly number[], keepDimensions = false): Tensor {
    return super.reduceMean(this.#full(x), axes, keepDimensions);
  }

  override reduceMax(x: Tensor, axes: readonly number[], keepDimensions = false): Tensor {
    return super.reduceMax(this.#full(x), axes, keepDimensions);
  }

  override add(a: Tensor, b: Tensor): Tensor {
    const [x, y] = this.#widest([a, b]);
    return super.add(x, y);
  }

  override sub(a: Tensor, b: Tensor): Tensor {
    const [x, y] = this.#widest([a, b]);
    return super.sub(x, y);
  }

  override mul(a: Tensor, b: Tensor): Tensor {
    const [x, y] = this.#widest([a, b]);
    return super.mul(x, y);
  }

  override div(a: Tensor, b: Tensor): Tensor {
    const [x, y] = this.#widest([a, b]);
    return super.div(x, y);
  }

  override max(a: Tensor, b: Tensor): Tensor {
    const [x, y] = this.#widest([a, b]);
    return super.max(x, y);
  }

  override min(a: Tensor, b: Tensor): Tensor {
    const [x, y] = this.#widest([a, b]);
    return super.min(x, y);
  }

  override concat(tensors: readonly Tensor[], axis: number): Tensor {
    return super.concat(this.#widest(tensors), axis);
  }

  override output(name: string, tensor: Tensor): void {
    super.output(name, this.#full(tensor));
  }

  /** All in one type: float32 if one of them has it. A constant follows the others. */
  #widest(tensors: readonly Tensor[]): Tensor[] {
    const decisive = tensors.filter((tensor) => !this.#isConstant(tensor));
    const half = decisive.length > 0 && decisive.every(({ type }) => type === 'float16');
    return tensors.map((tensor) => this.#as(tensor, half ? 'float16' : 'float32'));
  }

  #half(tensor: Tensor): Tensor {
    return this.#as(tensor, 'float16');
  }

  #full(tensor: Tensor): Tensor {
    return this.#as(tensor, 'float32');
  }

  #as(tensor: Tensor, type: ElementType): Tensor {
    if (tensor.type === type) return tensor;
    const cast = this.#casts.get(tensor) ?? this.cast(tensor, type);
    this.#casts.set(tensor, cast);
    return cast;
  }

  #isConstant(tensor: Tensor): boolean {
    const data = this.initializers.get(tensor);
    return data !== undefined && 'values' in data;
  }
}
