import { Graph } from '../inference/onnx/graph.ts';

const BETA2 = 0.999;
const EPSILON = 1e-8;

/** Elements that are updated in one run: enough to keep all threads busy, little enough for the caches. */
export const ADAM_CHUNK = 2 ** 18;

/**
 * One Adam step (Kingma and Ba 2015, algorithm 1, as PyTorch orders it) over vectors of any length B: inputs
 * `weight`, `gradient`, `mean` and `square` (B) and the scalars of `adamScalars`; outputs `newWeight`, `newMean`
 * and `newSquare`. Element by element, each input read before its successor is written: outputs may lie on the
 * inputs' memory.
 */
export function adamGraph(): Uint8Array {
  const graph = new Graph();
  const vector = (name: string) => graph.input(name, ['B']);
  const scalar = (name: string) => graph.input(name, [1]);
  const [weight, gradient, mean, square] = ['weight', 'gradient', 'mean', 'square'].map(vector);
  const [scale, beta1, oneMinusBeta1, stepSize, correction] = [
    'scale',
    'beta1',
    'oneMinusBeta1',
    'stepSize',
    'correction',
  ].map(scalar);

  const g = graph.mul(gradient, scale);
  const newMean = graph.add(graph.mul(mean, beta1), graph.mul(g, oneMinusBeta1));
  const newSquare = graph.add(
    graph.mul(square, graph.scalar(BETA2)),
    graph.mul(graph.mul(g, g), graph.scalar(1 - BETA2)),
  );
  const denominator = graph.add(graph.div(graph.sqrt(newSquare), correction), graph.scalar(EPSILON));
  graph.output('newWeight', graph.sub(weight, graph.div(graph.mul(newMean, stepSize), denominator)));
  graph.output('newMean', newMean);
  graph.output('newSquare', newSquare);
  return graph.toBytes();
}

/**
 * The scalars of step `t`, counted from 1: bias correction uses the β₁ of the step itself, as PyTorch does when
 * β₁ is cycled. `scale` multiplies the gradients.
 */
export function adamScalars(rate: number, beta1: number, t: number, scale: number): Record<string, number> {
  return {
    scale,
    beta1,
    oneMinusBeta1: 1 - beta1,
    stepSize: rate / (1 - beta1 ** t),
    correction: Math.sqrt(1 - BETA2 ** t),
  };
}
