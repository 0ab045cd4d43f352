import type { Graph } from '../onnx/graph.ts';
import { product } from '../onnx/tensor.ts';
import type { Tensor } from '../onnx/tensor.ts';
import type { ParameterSource } from './parameters.ts';

/** y = x · weightᵀ + bias over the last axis, weight as PyTorch stores it: (outputDim, inputDim). */
export function linear(
  graph: Graph,
  parameters: ParameterSource,
  x: Tensor,
  outputDim: number,
  { bias = true } = {},
): Tensor {
  const inputDim = x.shape.at(-1) as number;
  const weight = parameters('weight', outputDim, inputDim);
  // One matrix product over all tokens: Gemm takes the weight as stored, MatMul would need a transposed copy.
  const rows = graph.reshape(x, [product(x.shape.slice(0, -1)), inputDim]);
  const y = graph.gemm(rows, weight, bias ? parameters('bias', outputDim) : undefined, { transB: true });
  return graph.reshape(y, x.shape.with(-1, outputDim));
}
