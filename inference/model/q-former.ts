import type { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { mergeHeads, scaledDotProductAttention, splitHeads } from './attention.ts';
import type { ModelConfig } from './config.ts';
import { layerNorm } from './layer-norm.ts';
import { linear } from './linear.ts';
import { within } from './parameters.ts';
import type { ParameterSource } from './parameters.ts';

const NORM_EPS = 1e-5;

/** Dimension of a cross-attention head, whatever the model's (zetascale's `CrossAttention` default). */
const CROSS_HEAD_DIM = 64;

const MLP_RATIO = 4;

export interface QFormerOutput {
  /** (1, Q, D): the same for every image. This and the next two are absent where the Q-Former is bypassed. */
  readonly selfAttention?: Tensor;
  /** (B, heads, Q, M + 1), the null key first. */
  readonly attentionMaps?: Tensor;
  /** (B, Q, D) */
  readonly crossAttention?: Tensor;
  /** (B, Q, outputDim) */
  readonly output: Tensor;
}

/**
 * The Q-Former ("junction"): `queries` learned queries read the encoder's features (B, M, D). One block, without
 * residual connections. Everything before the cross-attention depends on the queries alone and is computed
 * once, with batch 1.
 */
export function qFormer(
  graph: Graph,
  parameters: ParameterSource,
  { dim, heads, outputDim, bypass }: ModelConfig['qFormer'],
  queries: number,
  features: Tensor,
): QFormerOutput {
  if (bypass) {
    // What stands before the patches (class token, registers) is left out.
    const tokens = features.shape[1] as number;
    return { output: graph.slice(features, 1, tokens - queries, tokens) };
  }
  const block = within(parameters, 'blocks.0.');
  const initial = parameters('queries', 1, queries, dim); // (1, Q, D)
  const selfAttention = multiQueryAttention(graph, within(block, 'attn.'), initial, heads); // (1, Q, D)
  const cross = crossAttention(graph, within(block, 'cross_attn.'), selfAttention, features, heads);

  const projection = within(block, 'projection.');
  const normed = layerNorm(graph, within(projection, '0.'), cross.output, NORM_EPS);
  const hidden = linear(graph, within(projection, '1.'), normed, MLP_RATIO * dim); // (B, Q, 4D)
  const output = linear(graph, within(projection, '3.'), graph.gelu(hidden), outputDim);
  return { selfAttention, attentionMaps: cross.probabilities, crossAttention: cross.output, output };
}

/** Causal self-attention with one key and one value head, shared by all query heads: (1, Q, D) → (1, Q, D). */
function multiQueryAttention(graph: Graph, parameters: ParameterSource, x: Tensor, heads: number): Tensor {
  const [, tokens, dim] = x.shape as number[];
  const headDim = dim / heads;
  const qkv = linear(graph, within(parameters, 'Wqkv.'), x, dim + 2 * headDim); // (1, Q, D + 2d)
  const q = splitHeads(graph, graph.slice(qkv, 2, 0, dim), heads); // (1, heads, Q, d)
  const [k, v] = graph
    .split(graph.slice(qkv, 2, dim, dim + 2 * headDim), 2, -1)
    .map((part) => splitHeads(graph, part, 1)); // (1, 1, Q, d)
  // Query i sees queries 0..i: −∞ above the diagonal, made in the graph to keep it small.
  const mask = graph.upperTriangle(graph.expand(graph.scalar(-Infinity), [tokens, tokens]), 1);
  const attended = mergeHeads(graph, scaledDotProductAttention(graph, q, k, v, mask).output);
  return linear(graph, within(parameters, 'out_proj.'), attended, dim);
}

/** Queries (1, Q, D) attend to features (B, M, D) and a learned null key: (B, Q, D). */
function crossAttention(
  graph: Graph,
  parameters: ParameterSource,
  queries: Tensor,
  features: Tensor,
  heads: number,
): { probabilities: Tensor; output: Tensor } {
  const dim = queries.shape[2] as number;
  const inner = heads * CROSS_HEAD_DIM;
  const normed = layerNorm(graph, within(parameters, 'norm.'), queries, NORM_EPS);
  const toQ = linear(graph, within(parameters, 'to_q.'), normed, inner, { bias: false });
  const q = splitHeads(graph, toQ, heads); // (1, heads, Q, 64)
  const keyValue = linear(graph, within(parameters, 'to_kv.'), features, 2 * inner, { bias: false });

  const nullKeyValue = parameters('null_kv', 2, CROSS_HEAD_DIM);
  const [k, v] = graph.split(keyValue, 2, -1).map((part, row) => {
    const tokens = splitHeads(graph, part, heads); // (B, heads, M, 64)
    const nullToken = graph.reshape(graph.slice(nullKeyValue, 0, row, row + 1), [1, 1, 1, CROSS_HEAD_DIM]);
    const constant = graph.pad(nullToken, 2, 0, tokens.shape[2] as number); // (1, 1, M + 1, 64)
    return graph.add(graph.pad(tokens, 2, 1, 0), constant); // (B, heads, M + 1, 64)
  });

  const { probabilities, output } = scaledDotProductAttention(graph, q, k, v);
  const merged = mergeHeads(graph, output); // (B, Q, inner)
  const projected = linear(graph, within(parameters, 'to_out.0.'), merged, dim, { bias: false });
  return { probabilities, output: layerNorm(graph, within(parameters, 'to_out.1.'), projected, NORM_EPS) };
}
