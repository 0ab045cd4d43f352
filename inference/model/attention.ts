import type { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';

/** (B, N, heads·d) → (B, heads, N, d). */
export function splitHeads(graph: Graph, x: Tensor, heads: number): Tensor {
  const [batch, tokens, dim] = x.shape;
  return graph.transpose(graph.reshape(x, [batch, tokens, heads, (dim as number) / heads]), [0, 2, 1, 3]);
}

/** (B, heads, N, d) → (B, N, heads·d). */
export function mergeHeads(graph: Graph, x: Tensor): Tensor {
  const [batch, heads, tokens, dim] = x.shape;
  return graph.reshape(graph.transpose(x, [0, 2, 1, 3]), [
    batch,
    tokens,
    (heads as number) * (dim as number),
  ]);
}

/**
 * softmax(q·kᵀ/√d + mask) · v with q (B, heads, N, d), k and v (B, heads, M, d); heads and batch broadcast.
 * Returns the probabilities (B, heads, N, M) and the values (B, heads, N, d).
 */
export function scaledDotProductAttention(
  graph: Graph,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask?: Tensor,
): { probabilities: Tensor; output: Tensor } {
  const dim = q.shape.at(-1) as number;
  const scaled = graph.mul(q, graph.scalar(dim ** -0.5));
  const logits = graph.matMul(scaled, graph.transpose(k, [0, 1, 3, 2]));
  const probabilities = graph.softmax(mask ? graph.add(logits, mask) : logits);
  return { probabilities, output: graph.matMul(probabilities, v) };
}
