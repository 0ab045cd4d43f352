import { Graph } from '../inference/onnx/graph.ts';
import type { Tensor } from '../inference/onnx/tensor.ts';

export const BETA2 = 0.999;
const EPSILON = 1e-8;

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
    beta1: scalar('beta1'),
    meanShare: scalar('meanShare'),
    squareShare: scalar('squareShare'),
    stepSize: scalar('stepSize'),
    epsilon: scalar('epsilon'),
  };
}

/**
 * One Adam step, element by element, in the order of Kingma and Ba 2015, section 2, last paragraph: the corrections for
 * the beginning are in the scalars, which saves operations over all parameters.
 */
export function adamStep(
  graph: Graph,
  { weight, gradient, mean, square }: AdamTensors,
  { beta1, meanShare, squareShare, stepSize, epsilon }: Record<keyof AdamScalars, Tensor>,
): Omit<AdamTensors, 'gradient'> {
  const newMean = graph.add(graph.mul(mean, beta1), graph.mul(gradient, meanShare));
  const newSquare = graph.add(
    graph.mul(square, graph.scalar(BETA2)),
    graph.mul(graph.mul(gradient, gradient), squareShare),
  );
  const denominator = graph.add(graph.sqrt(newSquare), epsilon);
  const newWeight = graph.sub(weight, graph.div(graph.mul(newMean, stepSize), denominator));
  return { weight: newWeight, mean: newMean, square: newSquare };
}

/** What changes from step to step. */
export interface AdamScalars {
  readonly beta1: number;
  /** Of the gradient in the new mean. */
  readonly meanShare: number;
  /** Of the gradient's square in the new mean square. */
  readonly squareShare: number;
  readonly stepSize: number;
  readonly epsilon: number;
}

/**
 * The scalars of step `t`, counted from 1: bias correction uses the β₁ of the step itself, as PyTorch does when
 * β₁ is cycled. `scale` multiplies the gradients.
 */
export function adamScalars(rate: number, beta1: number, t: number, scale: number): AdamScalars {
  const correction = Math.sqrt(1 - BETA2 ** t);
  return {
    beta1,
    meanShare: (1 - beta1) * scale,
    squareShare: (1 - BETA2) * scale * scale,
    stepSize: (rate / (1 - beta1 ** t)) * correction,
    epsilon: EPSILON * correction,
  };
}
