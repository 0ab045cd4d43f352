import { Graph } from '../inference/onnx/graph.ts';
import type { Tensor } from '../inference/onnx/tensor.ts';

const BETA2 = 0.999;
const EPSILON = 1e-8;

/** Elements that are updated in one run: enough to keep all threads busy, little enough for the caches. */
export const ADAM_CHUNK = 2 ** 18;

/** Tensors of one shape: parameters, their gradients, moments. */
export interface AdamTensors {
  readonly weight: Tensor;
  readonly gradient: Tensor;
  readonly mean: Tensor;
  readonly square: Tensor;
}

/** Inputs of a graph for what `adamScalars` gives, (1) each. */
export function adamInputs(graph: Graph): Record<keyof AdamScalars, Tensor> {
  const scalar = (name: string) => graph.input(name, [1]);
  return {
    scale: scalar('scale'),
    beta1: scalar('beta1'),
    oneMinusBeta1: scalar('oneMinusBeta1'),
    stepSize: scalar('stepSize'),
    correction: scalar('correction'),
  };
}

/** One Adam step (Kingma and Ba 2015, algorithm 1, as PyTorch orders it), element by element. */
export function adamStep(
  graph: Graph,
  { weight, gradient, mean, square }: AdamTensors,
  { scale, beta1, oneMinusBeta1, stepSize, correction }: Record<keyof AdamScalars, Tensor>,
): Omit<AdamTensors, 'gradient'> {
  const g = graph.mul(gradient, scale);
  const newMean = graph.add(graph.mul(mean, beta1), graph.mul(g, oneMinusBeta1));
  const newSquare = graph.add(
    graph.mul(square, graph.scalar(BETA2)),
    graph.mul(graph.mul(g, g), graph.scalar(1 - BETA2)),
  );
  const denominator = graph.add(graph.div(graph.sqrt(newSquare), correction), graph.scalar(EPSILON));
  const newWeight = graph.sub(weight, graph.div(graph.mul(newMean, stepSize), denominator));
  return { weight: newWeight, mean: newMean, square: newSquare };
}

/**
 * An Adam step over vectors of any length B: inputs `weight`, `gradient`, `mean` and `square` (B) and the scalars of
 * `adamScalars`; outputs `newWeight`, `newMean` and `newSquare`. Each input is read before its successor is
 * written: outputs may lie on the inputs' memory.
 */
export function adamGraph(): Uint8Array {
  const graph = new Graph();
  const vector = (name: string) => graph.input(name, ['B']);
  const tensors = {
    weight: vector('weight'),
    gradient: vector('gradient'),
    mean: vector('mean'),
    square: vector('square'),
  };
  const { weight, mean, square } = adamStep(graph, tensors, adamInputs(graph));
  graph.output('newWeight', weight);
  graph.output('newMean', mean);
  graph.output('newSquare', square);
  return graph.toBytes();
}

/** What changes from step to step. */
export interface AdamScalars {
  readonly scale: number;
  readonly beta1: number;
  readonly oneMinusBeta1: number;
  readonly stepSize: number;
  readonly correction: number;
}

/**
 * The scalars of step `t`, counted from 1: bias correction uses the β₁ of the step itself, as PyTorch does when
 * β₁ is cycled. `scale` multiplies the gradients.
 */
export function adamScalars(rate: number, beta1: number, t: number, scale: number): AdamScalars {
  return {
    scale,
    beta1,
    oneMinusBeta1: 1 - beta1,
    stepSize: rate / (1 - beta1 ** t),
    correction: Math.sqrt(1 - BETA2 ** t),
  };
}
