import { Graph } from '../inference/onnx/graph.ts';
import type { Tensor } from '../inference/onnx/tensor.ts';
import { adamInputs, adamStep } from './adam.ts';
import type { Quantity } from './engine.ts';
import { gradientName } from './training-graph.ts';
import type { TrainedParameter, TrainingGraph } from './training-graph.ts';

/** How a parameter's quantities are called where a graph carries all of them; the parameter itself as it is. */
export function stateName(quantity: Quantity, parameter: string): string {
  return quantity === 'weight' ? parameter : `${quantity} of ${parameter} so far`;
}

/** The output that is the next value of an input. */
export const nextName = (name: string) => `next ${name}`;

/**
 * `training` with its gradients summed: inputs also the sums so far and `keep` (1), with which they are multiplied, 0
 * for the first micro-batch; outputs `loss` and the sums.
 */
export function accumulationGraph(training: TrainingGraph): Uint8Array {
  const { graph, parameters } = training;
  const keep = graph.input('keep', [1]);
  const { loss, sums } = accumulate(training, keep);
  graph.outputs.clear();
  graph.output('loss so far', loss);
  parameters.forEach(({ name }, i) => {
    graph.output(nextName(stateName('gradient', name)), sums[i]);
  });
  return graph.toBytes();
}

/** Adam for all parameters, on sums of gradients; `squares` (1) is the sum of the squares of all these sums. */
export function updateGraph(parameters: readonly TrainedParameter[]): Uint8Array {
  const graph = new Graph();
  const scalars = adamInputs(graph);
  const squares = parameters.map(({ name, shape }) => {
    const input = (quantity: Quantity) => graph.input(stateName(quantity, name), shape);
    const gradient = input('gradient');
    const state = { weight: input('weight'), mean: input('mean'), square: input('square'), gradient };
    const next = adamStep(graph, state, scalars);
    for (const quantity of ['weight', 'mean', 'square'] as const) {
      graph.output(nextName(stateName(quantity, name)), next[quantity]);
    }
    return squareSum(graph, gradient);
  });
  graph.output(
    'squares',
    squares.reduce((a, b) => graph.add(a, b)),
  );
  return graph.toBytes();
}

/** Copies tensors of the parameters' shapes, so that they come to the CPU; `one` (1) is 1. */
export function copyGraph(parameters: readonly TrainedParameter[]): Uint8Array {
  const graph = new Graph();
  const one = graph.input('one', [1]);
  for (const { name, shape } of parameters) {
    graph.output(nextName(name), graph.mul(graph.input(name, shape), one));
  }
  return graph.toBytes();
}

/**
 * `training` as one run for many micro-batches (`Graph.toScanBytes`): parameters, moments and sums are carried from
 * one to the next. Besides data, each micro-batch has Adam's scalars and `last` (1): 1 where it ends an optimiser
 * step, else 0. Stacked results: `loss so far` (1) and `squares` (1) as in `updateGraph`.
 */
export function scanGraph(training: TrainingGraph): Uint8Array {
  const { graph, parameters } = training;
  const last = graph.input('last', [1]);
  const notLast = graph.sub(graph.scalar(1), last);
  const scalars = adamInputs(graph);
  const { loss, sums } = accumulate(training, graph.constant([1], [1]));
  const choose = (a: Tensor, b: Tensor) => graph.add(graph.mul(a, last), graph.mul(b, notLast));
  graph.outputs.clear();

  const states = new Map<string, string>();
  const carry = (quantity: Quantity, name: string, next: Tensor) => {
    const state = stateName(quantity, name);
    states.set(state, nextName(state));
    graph.output(nextName(state), next);
  };
  const squares = parameters.map(({ name, shape }, i) => {
    const weight = inputOf(graph, name);
    const [mean, square] = (['mean', 'square'] as const).map((quantity) =>
      graph.input(stateName(quantity, name), shape),
    );
    const next = adamStep(graph, { weight, mean, square, gradient: sums[i] }, scalars);
    carry('weight', name, choose(next.weight, weight));
    carry('mean', name, choose(next.mean, mean));
    carry('square', name, choose(next.square, square));
    carry('gradient', name, graph.mul(sums[i], notLast));
    return squareSum(graph, sums[i]);
  });
  graph.output('loss so far', loss);
  graph.output(
    'squares',
    squares.reduce((a, b) => graph.add(a, b)),
  );
  return graph.toScanBytes(states);
}

/** The sums so far, times `keep`, with this micro-batch's gradients added. */
function accumulate(
  { graph, parameters }: TrainingGraph,
  keep: Tensor,
): { loss: Tensor; sums: readonly Tensor[] } {
  const sums = parameters.map(({ name, shape }) => {
    const soFar = graph.mul(graph.input(stateName('gradient', name), shape), keep);
    return graph.add(soFar, graph.outputs.get(gradientName(name))!);
  });
  return { loss: graph.outputs.get('loss')!, sums };
}

function inputOf(graph: Graph, name: string): Tensor {
  return graph.inputs.find((input) => input.name === name)!;
}

/** The sum of the squares of all values, (1). */
function squareSum(graph: Graph, x: Tensor): Tensor {
  const axes = x.shape.map((_, axis) => axis);
  return graph.reshape(graph.reduceSum(graph.mul(x, x), axes), [1]);
}
