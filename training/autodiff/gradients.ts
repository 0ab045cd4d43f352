import type { Graph } from '../../inference/onnx/graph.ts';
import type { Tensor } from '../../inference/onnx/tensor.ts';
import { BACKWARD } from './backward.ts';
import type { InputGradient } from './backward.ts';

/**
 * Reverse-mode differentiation: appends to `graph` the nodes that compute ∂loss/∂parameter for each of
 * `parameters`, in their order and with their shapes. `loss` is a scalar (or stands for the sum of its elements).
 * Throws if an operation on the way has no gradient, or the loss does not depend on a parameter.
 *
 * @example
 * const graph = new Graph();
 * const w = graph.input('w', [3]);
 * const loss = graph.reduceSum(graph.mul(w, w), [0]);
 * const [dW] = gradients(graph, loss, [w]); // 2w
 */
export function gradients(graph: Graph, loss: Tensor, parameters: readonly Tensor[]): Tensor[] {
  const varies = new Set(parameters);
  // Nodes are in the order of computation, so one walk finds everything that depends on a parameter.
  const path = graph.nodes.filter((node) => {
    const depends = node.inputs.some((input) => varies.has(input));
    if (depends) for (const output of node.outputs) varies.add(output);
    return depends;
  });

  const one = graph.expand(
    graph.scalar(1),
    loss.shape.map((size) => size as number),
  );
  const found = new Map<Tensor, Tensor>([[loss, one]]);
  const ofParameters = new Map(parameters.map((parameter) => [parameter, [] as InputGradient[]]));
  for (const node of path.toReversed()) {
    const dOutputs = node.outputs.map((output) => found.get(output));
    if (dOutputs.every((gradient) => gradient === undefined)) continue;
    const backward = BACKWARD[node.opType];
    if (!backward) throw new Error(`${node.outputs[0].name}: ${node.opType} has no gradient`);
    const inputGradients = backward(graph, node, dOutputs[0]!, dOutputs);
    node.inputs.forEach((input, i) => {
      if (!varies.has(input)) return;
      const ofParameter = ofParameters.get(input);
      if (ofParameter) {
        ofParameter.push(inputGradients[i]);
        return;
      }
      const gradient = inputGradients[i]();
      const earlier = found.get(input);
      found.set(input, earlier ? graph.add(earlier, gradient) : gradient);
    });
  }
  // Last, the first layer's first: onnxruntime orders nodes by walking back from the last one, so each of these is
  // computed as soon as it can be, and what only it needs is freed.
  return parameters.map((parameter) => {
    const parts = ofParameters.get(parameter)!.map((gradient) => gradient());
    if (parts.length === 0) throw new Error(`the loss does not depend on ${parameter.name}`);
    return parts.reduce((a, b) => graph.add(a, b));
  });
}
