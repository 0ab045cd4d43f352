import type { Manifest } from './bundle/schema.ts';
import { weightFiles } from './model/parameters.ts';
import type { MountedWeights } from './model/parameters.ts';
import { qfae } from './model/qfae.ts';
import { imageScore, pixelMap } from './model/scores.ts';
import { Graph } from './onnx/graph.ts';
import { Int8Graph } from './onnx/int8-graph.ts';
import { HalfPrecisionGraph } from './onnx/half-precision-graph.ts';
import type { Precision } from './precision.ts';

const graphs = { float32: Graph, float16: HalfPrecisionGraph, int8: Int8Graph };

export interface ScoringGraphOptions {
  /** Default: `float32`. */
  readonly precision?: Precision;
  /** Also give x̂, as `reconstruction`. */
  readonly reconstruction?: boolean;
}

/**
 * The graph that scores: input `x` (B, 3, S, S), outputs `score` (B) and `map` (B, S, S), and on request
 * `reconstruction` (B, 3, S, S). Throws if a weight is missing or has another shape.
 */
export function scoringGraph(
  { model, profile }: Pick<Manifest, 'model' | 'profile'>,
  weights: readonly MountedWeights[],
  { precision = 'float32', reconstruction = false }: ScoringGraphOptions = {},
): Graph {
  const graph = new graphs[precision]();
  const x = graph.input('x', ['B', 3, model.imageSize, model.imageSize]);
  const { decoder, perceptual } = qfae(graph, weightFiles(graph, weights), model, model.perceptual.score, x);
  graph.output('score', imageScore(graph, perceptual.map, profile.reductions.image));
  graph.output('map', pixelMap(graph, perceptual.map, profile.reductions.map));
  if (reconstruction) graph.output('reconstruction', decoder.reconstruction);
  return graph;
}
