import type { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { mergeHeads, scaledDotProductAttention, splitHeads } from './attention.ts';
import { layerNorm } from './layer-norm.ts';
import { linear } from './linear.ts';
import { within } from './parameters.ts';
import type { ParameterSource } from './parameters.ts';

export interface BlockConfig {
  readonly heads: number;
  readonly mlpRatio: number;
  readonly normEps: number;
  readonly layerScale?: boolean;
}

/** Pre-norm transformer block, timm's `Block`: x (B, N, D) → (B, N, D). */
export function transformerBlock(
  graph: Graph,
  parameters: ParameterSource,
  x: Tensor,
  { heads, mlpRatio, normEps, layerScale = false }: BlockConfig,
): Tensor {
  const dim = x.shape.at(-1) as number;
  const scale = (y: Tensor, name: string) =>
    layerScale ? graph.mul(y, parameters(`${name}.gamma`, dim)) : y;

  const normed = layerNorm(graph, within(parameters, 'norm1.'), x, normEps);
  const qkv = linear(graph, within(parameters, 'attn.qkv.'), normed, 3 * dim); // (B, N, 3D)
  const [q, k, v] = graph.split(qkv, 3, -1).map((part) => splitHeads(graph, part, heads)); // (B, heads, N, d)
  const attended = mergeHeads(graph, scaledDotProductAttention(graph, q, k, v).output); // (B, N, D)
  const projected = linear(graph, within(parameters, 'attn.proj.'), attended, dim);
  const residual = graph.add(x, scale(projected, 'ls1'));

  const hidden = linear(
    graph,
    within(parameters, 'mlp.fc1.'),
    layerNorm(graph, within(parameters, 'norm2.'), residual, normEps),
    mlpRatio * dim,
  );
  const output = linear(graph, within(parameters, 'mlp.fc2.'), graph.gelu(hidden), dim);
  return graph.add(residual, scale(output, 'ls2'));
}
