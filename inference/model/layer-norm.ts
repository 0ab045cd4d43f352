import type { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';
import type { ParameterSource } from './parameters.ts';

/** LayerNorm over the last axis, with scale and bias. */
export function layerNorm(graph: Graph, parameters: ParameterSource, x: Tensor, epsilon: number): Tensor {
  const dim = x.shape.at(-1) as number;
  return graph.layerNormalization(x, parameters('weight', dim), parameters('bias', dim), epsilon);
}
