import type { Graph } from '../inference/onnx/graph.ts';
import type { Tensor } from '../inference/onnx/tensor.ts';

/** What training makes small: the perceptual distance (the paper's), the mean absolute error, or their sum. */
export const lossNames = ['perceptual', 'mae', 'both'] as const;

export type LossName = (typeof lossNames)[number];

/**
 * The training loss, a scalar, from the perceptual map (B, R, S, S) of the training comparison, the image and its
 * reconstruction (B, 3, S, S). `perceptual`: mean over pixels, blocks and images of the map.
 */
export function trainingLoss(
  graph: Graph,
  name: LossName,
  map: Tensor,
  x: Tensor,
  reconstruction: Tensor,
): Tensor {
  switch (name) {
    case 'perceptual':
      return mean(graph, map);
    case 'mae':
      return meanAbsoluteError(graph, x, reconstruction);
    case 'both':
      return graph.add(mean(graph, map), meanAbsoluteError(graph, x, reconstruction));
  }
}

/** Mean of |a − b| over all elements, with |d| as max(d, −d). */
function meanAbsoluteError(graph: Graph, a: Tensor, b: Tensor): Tensor {
  const difference = graph.sub(a, b);
  return mean(graph, graph.max(difference, graph.neg(difference)));
}

/** Over all axes. */
export function mean(graph: Graph, x: Tensor): Tensor {
  return graph.reduceMean(
    x,
    x.shape.map((_, axis) => axis),
  );
}
