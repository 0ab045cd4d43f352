import { randomStream } from '../../fixtures/random.ts';
import { Graph } from '../../inference/onnx/graph.ts';
import type { Tensor } from '../../inference/onnx/tensor.ts';
import { Session } from '../../inference/session.ts';
import { BACKWARD } from './backward.ts';
import { gradients } from './gradients.ts';

const { abs, max } = Math;

interface Case {
  readonly shapes: readonly (readonly number[])[];
  readonly build: (graph: Graph, ...inputs: Tensor[]) => Tensor | Tensor[];
  /** Inputs are drawn from it; the default is −1..1. */
  readonly range?: readonly [number, number];
}

const sides = (graph: Graph) => graph.constant([4], [0.5, 2, 0.25, 4]);

/** Each operation with the shapes and broadcasting that the model uses. */
const cases: Record<string, Case> = {
  Identity: { shapes: [[3]], build: (g, x) => (g.output('copy', x), g.outputs.get('copy')!) },
  Add: { shapes: [[2, 3], [3]], build: (g, a, b) => g.add(a, b) },
  Sub: {
    shapes: [
      [2, 1],
      [2, 3],
    ],
    build: (g, a, b) => g.sub(a, b),
  },
  Mul: {
    shapes: [
      [2, 3],
      [1, 3],
    ],
    build: (g, a, b) => g.mul(a, b),
  },
  'Mul, an input twice': { shapes: [[2, 3]], build: (g, a) => g.mul(a, g.mul(a, a)) },
  Div: {
    shapes: [
      [2, 3],
      [2, 1],
    ],
    build: (g, a, b) => g.div(a, b),
    range: [0.5, 1.5],
  },
  // Either side is the larger one somewhere, and none is near the kink at 0.
  Max: { shapes: [[3, 4]], build: (g, a) => g.max(a, g.mul(a, sides(g))), range: [0.2, 1] },
  Min: { shapes: [[3, 4]], build: (g, a) => g.min(g.mul(a, sides(g)), a), range: [0.2, 1] },
  Neg: { shapes: [[4]], build: (g, a) => g.neg(a) },
  Sqrt: { shapes: [[4]], build: (g, a) => g.sqrt(a), range: [0.5, 2] },
  Exp: { shapes: [[4]], build: (g, a) => g.exp(a) },
  Erf: { shapes: [[6]], build: (g, a) => g.erf(a), range: [-2, 2] },
  Gelu: { shapes: [[8]], build: (g, a) => g.gelu(a), range: [-3, 3] },
  Softmax: { shapes: [[2, 5]], build: (g, a) => g.softmax(a) },
  'Softmax that attends': {
    shapes: [
      [2, 3, 5],
      [2, 5, 4],
    ],
    build: (g, a, v) => g.matMul(g.softmax(a), v),
  },
  'Softmax that attends in each image of a batch': {
    shapes: [
      [1, 3, 5],
      [2, 5, 4],
    ],
    build: (g, a, v) => g.matMul(g.softmax(a), v),
  },
  'Softmax that attends and is read again': {
    shapes: [
      [2, 3, 5],
      [2, 5, 4],
    ],
    build: (g, a, v) => {
      const y = g.softmax(a);
      return [g.matMul(y, v), y];
    },
  },
  'Softmax under a causal mask': {
    shapes: [[1, 3, 3]],
    build: (g, a) => g.softmax(g.add(a, g.upperTriangle(g.expand(g.scalar(-Infinity), [3, 3]), 1))),
  },
  LayerNormalization: {
    shapes: [[2, 2, 5], [5], [5]],
    build: (g, x, scale, bias) => g.layerNormalization(x, scale, bias, 1e-5),
  },
  MatMul: {
    shapes: [
      [2, 3, 4],
      [2, 4, 2],
    ],
    build: (g, a, b) => g.matMul(a, b),
  },
  'MatMul, left broadcast': {
    shapes: [
      [1, 2, 3, 2],
      [2, 1, 2, 3],
    ],
    build: (g, a, b) => g.matMul(a, b),
  },
  'MatMul, matrix and stack': {
    shapes: [
      [3, 2],
      [2, 2, 3],
    ],
    build: (g, a, b) => g.matMul(a, b),
  },
  ...Object.fromEntries(
    [false, true].flatMap((transA) =>
      [false, true].map((transB) => [
        `Gemm, transA ${transA}, transB ${transB}`,
        {
          shapes: [transA ? [4, 2] : [2, 4], transB ? [3, 4] : [4, 3], [3]],
          build: (g: Graph, a: Tensor, b: Tensor, c: Tensor) => g.gemm(a, b, c, { transA, transB }),
        },
      ]),
    ),
  ),
  Reshape: { shapes: [[2, 6]], build: (g, a) => g.reshape(a, [3, 4]) },
  Transpose: { shapes: [[2, 3, 4]], build: (g, a) => g.transpose(a, [2, 0, 1]) },
  Concat: {
    shapes: [
      [2, 2, 2],
      [2, 1, 2],
    ],
    build: (g, a, b) => g.concat([a, b], 1),
  },
  Split: { shapes: [[2, 6]], build: (g, a) => g.split(a, 3, -1) },
  'Split, a part unused': { shapes: [[2, 6]], build: (g, a) => [g.split(a, 3, -1)[1]] },
  Slice: { shapes: [[2, 5, 2]], build: (g, a) => g.slice(a, 1, 1, 3) },
  Pad: { shapes: [[2, 3, 2]], build: (g, a) => g.pad(a, 1, 2, 1) },
  'Pad by nothing': { shapes: [[2, 3]], build: (g, a) => g.pad(a, 1, 0, 0) },
  Expand: { shapes: [[2, 1, 3]], build: (g, a) => g.expand(a, [4, 2, 5, 3]) },
  Trilu: { shapes: [[3, 3]], build: (g, a) => g.upperTriangle(a, 1) },
  ReduceSum: { shapes: [[2, 3, 4]], build: (g, a) => g.reduceSum(a, [-1, 0]) },
  'ReduceSum, axes kept': { shapes: [[2, 3, 4]], build: (g, a) => g.reduceSum(a, [1], true) },
  ReduceMean: { shapes: [[2, 3, 4]], build: (g, a) => g.reduceMean(a, [0, 2]) },
  ReduceMax: { shapes: [[2, 7]], build: (g, a) => g.reduceMax(a, [1]) },
  Cast: { shapes: [[4]], build: (g, a) => g.cast(a, 'float32') },
};

/**
 * Step of the five-point stencil. Perturbed inputs are multiples of 2⁻⁸ and exact in float32; outputs carry
 * a rounding of 2⁻²⁴ of their size, hence ~1e-6 in the quotient, and the stencil is off by h⁴/30 of the fifth
 * derivative, ~5e-7. A wrong formula is off by far more than the tolerance.
 */
const STEP = 2 ** -6;
const TOLERANCE = 5e-5;

test('every operation with a gradient is checked', () => {
  const checked = new Set(Object.keys(cases).map((name) => name.replace(/,? .*/, '')));
  expect(Object.keys(BACKWARD).filter((opType) => !checked.has(opType))).toEqual([]);
});

let session: Session | undefined;
afterEach(async () => {
  await session?.close();
  session = undefined;
});

test.each(Object.keys(cases))('%s', async (name) => {
  const { shapes, build, range: [low, high] = [-1, 1] } = cases[name];
  const random = randomStream(7, name);
  const draw = () => Math.round((low + (high - low) * random()) * 256) / 256;
  const graph = new Graph();
  const inputs = shapes.map((shape, i) => graph.input(`x${i}`, shape));
  const built = build(graph, ...inputs);
  const results = Array.isArray(built) ? built : [built];
  // loss = Σ weight · y, with weights that differ from element to element
  const weights = results.map(({ shape }) =>
    Float32Array.from({ length: size(shape as number[]) }, () => Math.round(random() * 256) / 128 - 1),
  );
  results.forEach((y, i) => {
    graph.output(`y${i}`, y);
  });
  const loss = results
    .map((y, i) => graph.mul(y, graph.constant(y.shape as number[], weights[i])))
    .map((y) =>
      graph.reduceSum(
        y,
        y.shape.map((_, axis) => axis),
      ),
    )
    .reduce((a, b) => graph.add(a, b));
  gradients(graph, loss, inputs).forEach((gradient, i) => {
    expect(gradient.shape).toEqual(inputs[i].shape);
    graph.output(`d${i}`, gradient);
  });

  session = await Session.open({ graph: graph.toBytes(), threads: 1 });
  const at = shapes.map((shape) => Float64Array.from({ length: size(shape) }, draw));
  const run = (values: Float64Array[]) =>
    session!.run(
      Object.fromEntries(
        values.map((data, i) => [`x${i}`, { data: Float32Array.from(data), dims: shapes[i] }]),
      ),
    );
  const lossAt = async (input: number, element: number, offset: number) => {
    const moved = at.map((values, i) =>
      i === input ? values.with(element, values[element] + offset) : values,
    );
    const outputs = await run(moved);
    // in float64
    return weights.reduce(
      (sum, weight, i) => weight.reduce((part, w, j) => part + w * outputs[`y${i}`].data[j], sum),
      0,
    );
  };
  const exact = await run(at);
  for (const [input, values] of at.entries()) {
    for (let element = 0; element < values.length; element++) {
      const [f2, f1, b1, b2] = await Promise.all(
        [2, 1, -1, -2].map((steps) => lossAt(input, element, steps * STEP)),
      );
      const quotient = (8 * (f1 - b1) - (f2 - b2)) / (12 * STEP);
      const gradient = exact[`d${input}`].data[element];
      expect(abs(gradient - quotient) / max(1, abs(quotient))).toBeLessThan(TOLERANCE);
    }
  }
});

function size(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

test('what cannot be differentiated is named', () => {
  const graph = new Graph();
  const [x, other] = [graph.input('x', [2]), graph.input('other', [2])];
  const loss = graph.reduceSum(graph.exp(x), [0]);
  expect(() => gradients(graph, loss, [x, other])).toThrow('the loss does not depend on other');

  const symbolic = new Graph();
  const batch = symbolic.input('x', ['B', 2]);
  const sum = symbolic.reduceSum(batch, [1, 0]);
  expect(() => gradients(symbolic, sum, [batch])).toThrow('needs a fixed batch, not B');
});
