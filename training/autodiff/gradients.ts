import type { Graph, Node } from '../../inference/onnx/graph.ts';
import type { Tensor } from '../../inference/onnx/tensor.ts';
import { BACKWARD } from './backward.ts';
import type { InputGradient, OnlyProduct } from './backward.ts';

/**
 * Reverse-mode differentiation: appends to `graph` the nodes that compute ∂loss/∂parameter for each of
 * `parameters`, in their order and with their shapes. `loss` is a scalar (or stands for the sum of its elements).
 * Throws if an operation on the way has no gradient, or the loss does not depend on a parameter.
 *
 * `checkpoints` are tensors in the order of computation, such as the outputs of a network's blocks: what lies between
 * two of them is not kept for the backward pass but computed again when that comes there (Chen et al. 2016,
 * "Training deep nets with sublinear memory cost").
 *
 * @example
 * const graph = new Graph();
 * const w = graph.input('w', [3]);
 * const loss = graph.reduceSum(graph.mul(w, w), [0]);
 * const [dW] = gradients(graph, loss, [w]); // 2w
 */
export function gradients(
  graph: Graph,
  loss: Tensor,
  parameters: readonly Tensor[],
  checkpoints: readonly Tensor[] = [],
): Tensor[] {
  const segments = segmentsBetween(graph, checkpoints);
  const varies = new Set(parameters);
  // Nodes are in the order of computation, so one walk finds everything that depends on a parameter.
  const path = graph.nodes.filter((node) => {
    const depends = node.inputs.some((input) => varies.has(input));
    if (depends) for (const output of node.outputs) varies.add(output);
    return depends;
  });

  const readers = new Map<Tensor, Node[]>();
  for (const node of graph.nodes) {
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), node]);
  }

  const one = graph.expand(
    graph.scalar(1),
    loss.shape.map((size) => size as number),
  );
  const found = new Map<Tensor, Tensor>([[loss, one]]);
  const ofParameters = new Map(parameters.map((parameter) => [parameter, [] as InputGradient[]]));
  const kept = (node: Node, gradient: Tensor): Node => segments.get(node)?.recomputed(node, gradient) ?? node;
  const onlyProduct = ({ outputs: [y] }: Node): OnlyProduct | undefined => {
    const [reader, ...others] = readers.get(y) ?? [];
    if (reader?.opType !== 'MatMul' || reader.inputs[0] !== y || others.length > 0) return undefined;
    const gradient = found.get(reader.outputs[0]);
    return gradient && { product: kept(reader, gradient).outputs[0], gradient };
  };
  for (const node of path.toReversed()) {
    const dOutputs = node.outputs.map((output) => found.get(output));
    if (dOutputs.every((gradient) => gradient === undefined)) continue;
    const backward = BACKWARD[node.opType];
    if (!backward) throw new Error(`${node.outputs[0].name}: ${node.opType} has no gradient`);
    const again = kept(
      node,
      dOutputs.find((gradient) => gradient)!,
    );
    const inputGradients = backward(graph, again, dOutputs[0]!, dOutputs, onlyProduct(node));
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

/** Nodes between two checkpoints. */
class Segment {
  readonly #graph: Graph;
  readonly #nodes: readonly Node[];
  readonly #start: Tensor;
  #copies: Map<Tensor, Tensor> | undefined;

  constructor(graph: Graph, start: Tensor, nodes: readonly Node[]) {
    this.#graph = graph;
    this.#start = start;
    this.#nodes = nodes;
  }

  /** `node` with inputs and outputs that are computed again, after `gradient`. */
  recomputed(node: Node, gradient: Tensor): Node {
    this.#copies ??= this.#recompute(gradient);
    const copy = (tensor: Tensor) => this.#copies!.get(tensor) ?? tensor;
    return { ...node, inputs: node.inputs.map(copy), outputs: node.outputs.map(copy) };
  }

  #recompute(gradient: Tensor): Map<Tensor, Tensor> {
    const graph = this.#graph;
    // A zero that is known only when the backward pass comes here: it makes the copies come late, and keeps
    // onnxruntime from seeing that they are equal to the originals.
    const first = gradient.shape.reduce((part, _, axis) => graph.slice(part, axis, 0, 1), gradient);
    const zero = graph.mul(graph.reshape(first, [1]), graph.scalar(0));
    const copies = new Map([[this.#start, graph.add(this.#start, zero)]]);
    for (const node of this.#nodes) {
      const inputs = node.inputs.map((input) => copies.get(input) ?? input);
      graph.repeat(node, inputs).forEach((copy, i) => copies.set(node.outputs[i], copy));
    }
    return copies;
  }
}

/** The segment of each node between the first and the last checkpoint. */
function segmentsBetween(graph: Graph, checkpoints: readonly Tensor[]): Map<Node, Segment> {
  const ends = checkpoints.map(
    (tensor) => graph.nodes.findIndex(({ outputs }) => outputs.includes(tensor)) + 1,
  );
  const segments = new Map<Node, Segment>();
  checkpoints.slice(1).forEach((_, i) => {
    const nodes = graph.nodes.slice(ends[i], ends[i + 1]);
    const segment = new Segment(graph, checkpoints[i], nodes);
    for (const node of nodes) segments.set(node, segment);
  });
  return segments;
}
