import type { Graph, Node } from '../../inference/onnx/graph.ts';
import { product } from '../../inference/onnx/tensor.ts';
import type { Shape, Tensor } from '../../inference/onnx/tensor.ts';

/** The gradient of one input, emitted only if it is needed. */
export type InputGradient = () => Tensor;

/** The product a · b of two matrices that nothing else makes use of a for, and the product's gradient. */
export interface OnlyProduct {
  readonly product: Tensor;
  readonly gradient: Tensor;
}

/**
 * The backward pass of one node: from the gradients of its outputs (`dY` that of the first; undefined where the
 * loss does not depend on an output) the gradient of each input that can have one. `onlyProduct` is there if the first
 * output serves as the left factor of one MatMul and nothing else. Emits into the same graph.
 */
export type Backward = (
  graph: Graph,
  node: Node,
  dY: Tensor,
  dOutputs: readonly (Tensor | undefined)[],
  onlyProduct?: OnlyProduct,
) => readonly InputGradient[];

/**
 * Every operation of `Graph` that can be differentiated: its forward as a comment, its backward as code.
 * All shapes must be known: a training graph has a fixed micro-batch.
 */
export const BACKWARD: Readonly<Record<string, Backward>> = {
  // y = x
  Identity: (_graph, _node, dY) => [() => dY],
  // y = a + b
  Add: (graph, { inputs: [a, b] }, dY) => [() => sumTo(graph, dY, a.shape), () => sumTo(graph, dY, b.shape)],
  // y = a − b
  Sub: (graph, { inputs: [a, b] }, dY) => [
    () => sumTo(graph, dY, a.shape),
    () => graph.neg(sumTo(graph, dY, b.shape)),
  ],
  // y = a · b
  Mul: (graph, { inputs: [a, b] }, dY) => [
    () => sumTo(graph, graph.mul(dY, b), a.shape),
    () => sumTo(graph, graph.mul(dY, a), b.shape),
  ],
  // y = a / b
  Div: (graph, { inputs: [a, b], outputs: [y] }, dY) => [
    () => sumTo(graph, graph.div(dY, b), a.shape),
    () => sumTo(graph, graph.neg(graph.div(graph.mul(dY, y), b)), b.shape),
  ],
  // y = max(a, b); where both are equal, each has half, as in PyTorch
  Max: (graph, { inputs: [a, b] }, dY) => [
    () => sumTo(graph, graph.mul(dY, share(graph, a, b)), a.shape),
    () => sumTo(graph, graph.mul(dY, share(graph, b, a)), b.shape),
  ],
  // y = min(a, b)
  Min: (graph, { inputs: [a, b] }, dY) => [
    () => sumTo(graph, graph.mul(dY, share(graph, b, a)), a.shape),
    () => sumTo(graph, graph.mul(dY, share(graph, a, b)), b.shape),
  ],
  // y = −x
  Neg: (graph, _node, dY) => [() => graph.neg(dY)],
  // y = √x
  Sqrt: (graph, { outputs: [y] }, dY) => [() => graph.div(graph.mul(dY, graph.scalar(0.5)), y)],
  // y = eˣ
  Exp: (graph, { outputs: [y] }, dY) => [() => graph.mul(dY, y)],
  // y = 2/√π ∫₀ˣ e^(−t²) dt
  Erf: (graph, { inputs: [x] }, dY) => [
    () => graph.mul(dY, graph.mul(graph.scalar(2 / Math.sqrt(Math.PI)), gaussian(graph, x, 1))),
  ],
  // y = x · Φ(x); y' = Φ(x) + x · φ(x)
  Gelu: (graph, { inputs: [x] }, dY) => [
    () => {
      const erf = graph.erf(graph.mul(x, graph.scalar(Math.SQRT1_2)));
      const cumulative = graph.mul(graph.add(erf, graph.scalar(1)), graph.scalar(0.5));
      const density = graph.mul(gaussian(graph, x, 0.5), graph.scalar(1 / Math.sqrt(2 * Math.PI)));
      return graph.mul(dY, graph.add(cumulative, graph.mul(x, density)));
    },
  ],
  // y = softmax(x) over the last axis; dx = y · (dy − Σ dy · y). In attention, o = y · v and dy = do · vᵀ, so that
  // Σ dy · y = Σ do · o, over the width of a head instead of over all tokens.
  Softmax: (graph, { outputs: [y] }, dY, _dOutputs, attended) => [
    () => {
      const rows = y.shape.slice(0, -1);
      const [a, b] =
        attended && rows.every((size, axis) => size === attended.product.shape[axis])
          ? [attended.gradient, attended.product]
          : [dY, y];
      return graph.mul(y, graph.sub(dY, graph.reduceSum(graph.mul(a, b), [-1], true)));
    },
  ],
  // y = x̂ · scale + bias, x̂ = (x − mean) · inverse standard deviation
  LayerNormalization: (graph, { inputs: [x, scale, bias], outputs: [, mean, inverse] }, dY) => {
    const normed = graph.mul(graph.sub(x, mean), inverse);
    const average = (value: Tensor) => graph.reduceMean(value, [-1], true);
    return [
      () => {
        const dNormed = graph.mul(dY, scale);
        const along = graph.mul(normed, average(graph.mul(dNormed, normed)));
        return graph.mul(inverse, graph.sub(graph.sub(dNormed, average(dNormed)), along));
      },
      () => sumTo(graph, graph.mul(dY, normed), scale.shape),
      () => sumTo(graph, dY, bias.shape),
    ];
  },
  // y = a · b
  MatMul: (graph, { inputs: [a, b] }, dY) => [
    () => sumTo(graph, graph.matMul(dY, swapLastAxes(graph, b)), a.shape),
    () => sumTo(graph, graph.matMul(swapLastAxes(graph, a), dY), b.shape),
  ],
  // y = a' · b' + c, with ' a transposition on request
  Gemm: (graph, { inputs: [a, b, c], attributes }, dY) => {
    const [transA, transB] = [attributes['transA'] === 1, attributes['transB'] === 1];
    return [
      () =>
        transA
          ? graph.gemm(b, dY, undefined, { transA: transB, transB: true })
          : graph.gemm(dY, b, undefined, { transB: !transB }),
      () =>
        transB
          ? graph.gemm(dY, a, undefined, { transA: true, transB: transA })
          : graph.gemm(a, dY, undefined, { transA: !transA }),
      () => sumTo(graph, dY, c.shape),
    ];
  },
  Reshape: (graph, { inputs: [x] }, dY) => [() => graph.reshape(dY, x.shape)],
  Transpose: (graph, { attributes }, dY) => {
    const permutation = attributes['perm'] as readonly number[];
    return [
      () =>
        graph.transpose(
          dY,
          permutation.map((_, axis) => permutation.indexOf(axis)),
        ),
    ];
  },
  Concat: (graph, { inputs, attributes }, dY) => {
    const axis = attributes['axis'] as number;
    let end = 0;
    return inputs.map(({ shape }) => {
      const start = end;
      end += shape.at(axis) as number;
      const stop = end;
      return () => graph.slice(dY, axis, start, stop);
    });
  },
  Split: (graph, { outputs, attributes }, _dY, dOutputs) => [
    () =>
      graph.concat(
        outputs.map(({ shape }, i) => dOutputs[i] ?? graph.expand(graph.scalar(0), known(shape))),
        attributes['axis'] as number,
      ),
  ],
  Slice: (graph, { inputs: [x, starts, ends, axes] }, dY) => {
    const [[start], [end], [axis]] = [starts, ends, axes].map((tensor) => integers(graph, tensor));
    return [() => graph.pad(dY, axis, start, (x.shape.at(axis) as number) - end)];
  },
  // one axis is padded
  Pad: (graph, { inputs: [x, pads] }, dY) => {
    const before = integers(graph, pads).slice(0, x.shape.length);
    const axis = x.shape.findIndex((size, i) => size !== dY.shape[i]);
    const size = x.shape[axis] as number;
    return [() => (axis < 0 ? dY : graph.slice(dY, axis, before[axis], before[axis] + size))];
  },
  Expand: (graph, { inputs: [x] }, dY) => [() => sumTo(graph, dY, x.shape)],
  // y = x above the k-th diagonal, else 0
  Trilu: (graph, { inputs: [, k] }, dY) => [() => graph.upperTriangle(dY, integers(graph, k)[0])],
  ReduceSum: (graph, node, dY) => [() => spread(graph, node, dY)],
  ReduceMean: (graph, node, dY) => [
    () => {
      const [from, to] = [node.inputs[0].shape, node.outputs[0].shape].map((shape) => product(known(shape)));
      return spread(graph, node, graph.mul(dY, graph.scalar((to as number) / (from as number))));
    },
  ],
  // y = max(x) over axes; equal maxima share, as in PyTorch's amax
  ReduceMax: (graph, node, dY) => [
    () => {
      const [x] = node.inputs;
      const largest = spread(graph, node, node.outputs[0]);
      const isLargest = graph.sub(graph.scalar(1), step(graph, graph.sub(largest, x)));
      const count = graph.reduceSum(isLargest, integers(graph, node.inputs[1]), true);
      return graph.mul(spread(graph, node, dY), graph.div(isLargest, count));
    },
  ],
  Cast: (graph, { inputs: [x] }, dY) => [() => graph.cast(dY, x.type)],
};

/** Sums a gradient over the axes along which a value of `shape` was repeated by broadcasting. */
export function sumTo(graph: Graph, gradient: Tensor, shape: Shape): Tensor {
  const added = gradient.shape.length - shape.length;
  const repeated = gradient.shape
    .map((size, axis) => ({ size, axis }))
    .filter(({ size, axis }) => axis < added || (shape[axis - added] === 1 && size !== 1));
  if (repeated.length === 0) return gradient;
  const axes = repeated.map(({ axis }) => axis);
  return graph.reshape(graph.reduceSum(gradient, axes, true), shape);
}

/** The inverse shape of a reduction: repeats `value` (…) over the axes that `node` reduced. */
function spread(graph: Graph, { inputs: [x, axes] }: Node, value: Tensor): Tensor {
  const rank = x.shape.length;
  const reduced = new Set(integers(graph, axes).map((axis) => (axis + rank) % rank));
  const kept = x.shape.map((size, axis) => (reduced.has(axis) ? 1 : size));
  return graph.expand(graph.reshape(value, kept), known(x.shape));
}

/** 1 where x > 0, else 0: the builder has no comparison, and x · 3e38 saturates for all but denormal x. */
function step(graph: Graph, x: Tensor): Tensor {
  return graph.min(graph.max(graph.mul(x, graph.scalar(3e38)), graph.scalar(0)), graph.scalar(1));
}

/** The part of max(a, b) that is a: 1, 0, or ½ where both are equal. */
function share(graph: Graph, a: Tensor, b: Tensor): Tensor {
  const difference = graph.sub(step(graph, graph.sub(a, b)), step(graph, graph.sub(b, a)));
  return graph.mul(graph.add(difference, graph.scalar(1)), graph.scalar(0.5));
}

/** e^(−c · x²) */
function gaussian(graph: Graph, x: Tensor, c: number): Tensor {
  return graph.exp(graph.mul(graph.mul(x, x), graph.scalar(-c)));
}

function swapLastAxes(graph: Graph, x: Tensor): Tensor {
  const axes = x.shape.map((_, axis) => axis);
  return graph.transpose(x, [...axes.slice(0, -2), axes.length - 1, axes.length - 2]);
}

/** The values of an integer constant of the graph. */
function integers(graph: Graph, tensor: Tensor): number[] {
  const data = graph.initializers.get(tensor);
  if (!data || !('values' in data)) throw new Error(`${tensor.name} is not a constant of the graph`);
  return Array.from(data.values as BigInt64Array, Number);
}

function known(shape: Shape): number[] {
  return shape.map((size) => {
    if (typeof size !== 'number')
      throw new Error(`a graph that is differentiated needs a fixed batch, not ${size}`);
    return size;
  });
}
