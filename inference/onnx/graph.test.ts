import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSafetensors, writeSafetensors } from '../safetensors.ts';
import { Session } from '../session.ts';
import type { TensorValue } from '../session.ts';
import { Graph } from './graph.ts';
import { factors } from './tensor.ts';
import type { Shape, Tensor } from './tensor.ts';

const BATCH = 3;

/** The size of each axis in a batch of `BATCH`. */
const known = (shape: Shape) =>
  shape.map((dimension) => {
    const { size, power } = factors(dimension);
    return size * BATCH ** power;
  });

async function run(graph: Graph, feeds: Record<string, TensorValue>, weightsFolder?: string) {
  const session = await Session.open({
    graph: graph.toBytes(),
    ...(weightsFolder === undefined ? {} : { weightsFolder }),
  });
  try {
    return await session.run(feeds);
  } finally {
    await session.close();
  }
}

/** Deterministic values in (0, 1). */
function values(shape: Shape): Float32Array {
  const length = known(shape).reduce((product, size) => product * size, 1);
  return Float32Array.from({ length }, (_, i) => (((i + 1) * 0.618) % 1) * 0.9 + 0.05);
}

/** Runs one operator on inputs of these shapes; the inferred shape must be what onnxruntime computes. */
async function apply(
  shapes: readonly Shape[],
  build: (graph: Graph, ...inputs: Tensor[]) => Tensor,
): Promise<{ data: Float32Array; inputs: Float32Array[]; shape: Shape }> {
  const graph = new Graph();
  const inputs = shapes.map((shape, i) => graph.input(`in${i}`, shape));
  const result = build(graph, ...inputs);
  graph.output('out', result);
  const feeds = Object.fromEntries(
    inputs.map(({ name, shape }) => [name, { data: values(shape), dims: known(shape) }]),
  );
  const { out } = await run(graph, feeds);
  expect(out.dims).toEqual(known(result.shape));
  return { data: out.data, inputs: shapes.map(values), shape: result.shape };
}

describe('inferred shapes are those that onnxruntime computes', () => {
  const cases: [string, Shape[], (graph: Graph, ...inputs: Tensor[]) => Tensor, Shape][] = [
    [
      'Add, broadcast',
      [
        ['B', 1, 4],
        [2, 1],
      ],
      (g, a, b) => g.add(a, b),
      ['B', 2, 4],
    ],
    ['Sub', [['B', 2], [2]], (g, a, b) => g.sub(a, b), ['B', 2]],
    [
      'Mul',
      [
        [1, 2],
        ['B', 1],
      ],
      (g, a, b) => g.mul(a, b),
      ['B', 2],
    ],
    [
      'Div',
      [
        ['B', 2],
        ['B', 2],
      ],
      (g, a, b) => g.div(a, b),
      ['B', 2],
    ],
    ['Max', [['B', 2], []], (g, a, b) => g.max(a, b), ['B', 2]],
    ['Min', [['B', 2], []], (g, a, b) => g.min(a, b), ['B', 2]],
    ['Neg', [['B', 2]], (g, a) => g.neg(a), ['B', 2]],
    ['Exp', [['B', 2]], (g, a) => g.exp(a), ['B', 2]],
    ['Erf', [['B', 2]], (g, a) => g.erf(a), ['B', 2]],
    ['Softmax', [['B', 2, 5]], (g, a) => g.softmax(a), ['B', 2, 5]],
    [
      'MatMul, broadcast',
      [
        [2, 3],
        ['B', 4, 3, 5],
      ],
      (g, a, b) => g.matMul(a, b),
      ['B', 4, 2, 5],
    ],
    ['Gemm', [['B', 3], [5, 3], [5]], (g, a, b, c) => g.gemm(a, b, c, { transB: true }), ['B', 5]],
    [
      'Gemm, transposed',
      [
        ['B', 3],
        ['B', 5],
      ],
      (g, a, b) => g.gemm(a, b, undefined, { transA: true }),
      [3, 5],
    ],
    ['Reshape', [['B', 4, 6]], (g, a) => g.reshape(a, ['4B', 2, 3]), ['4B', 2, 3]],
    ['Transpose', [['B', 4, 6]], (g, a) => g.transpose(a, [2, 0, 1]), [6, 'B', 4]],
    [
      'Concat on the batch',
      [
        ['B', 4],
        ['B', 4],
      ],
      (g, a, b) => g.concat([a, b], 0),
      ['2B', 4],
    ],
    [
      'Concat',
      [
        ['B', 4, 1],
        ['B', 2, 1],
      ],
      (g, a, b) => g.concat([a, b], 1),
      ['B', 6, 1],
    ],
    ['Split of the batch', [['2B', 4]], (g, a) => g.split(a, 2, 0)[1], ['B', 4]],
    ['Split', [['B', 6]], (g, a) => g.split(a, 3, -1)[2], ['B', 2]],
    ['Slice', [['B', 6, 2]], (g, a) => g.slice(a, 1, 1, 4), ['B', 3, 2]],
    ['Pad', [['B', 6, 2]], (g, a) => g.pad(a, 1, 2, 1), ['B', 9, 2]],
    ['Expand', [[1, 2]], (g, a) => g.expand(a, [3, 2]), [3, 2]],
    ['Trilu', [['B', 3, 3]], (g, a) => g.upperTriangle(a, 1), ['B', 3, 3]],
    ['ReduceSum', [['B', 4, 5]], (g, a) => g.reduceSum(a, [-1]), ['B', 4]],
    ['ReduceMean', [['B', 4, 5]], (g, a) => g.reduceMean(a, [1, 2]), ['B']],
    ['ReduceMax', [['B', 4, 5]], (g, a) => g.reduceMax(a, [1], true), ['B', 1, 5]],
    ['Cast', [['B', 4]], (g, a) => g.cast(g.cast(a, 'float16'), 'float32'), ['B', 4]],
  ];
  test.each(cases)('%s', async (_, shapes, build, expected) => {
    expect((await apply(shapes, build)).shape).toEqual(expected);
  });
});

test('LayerNormalization has mean and inverse standard deviation as further outputs', async () => {
  const { data, inputs } = await apply([['B', 4], [4], [4]], (graph, x, scale, bias) => {
    graph.layerNormalization(x, scale, bias, 1e-5);
    return graph.nodes[0].outputs[1];
  });
  const first = inputs[0].subarray(0, 4);
  expect(data[0]).toBeCloseTo(first.reduce((sum, value) => sum + value, 0) / 4, 6);
});

test('a graph holds only what its outputs need, and equal constants once', () => {
  const graph = new Graph();
  const x = graph.input('x', ['B', 2]);
  graph.exp(x);
  const y = graph.add(graph.mul(x, graph.scalar(2)), graph.scalar(2));
  graph.output('y', y);
  expect(graph.neededNodes().map(({ opType }) => opType)).toEqual(['Mul', 'Add', 'Identity']);
  expect(graph.initializers.size).toBe(1);
});

test('weights stay in several safetensors files', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'graph-'));
  const graph = new Graph();
  const a = graph.input('a', ['B', 3]);
  const products = [];
  for (const [i, name] of ['one', 'two'].entries()) {
    const location = `${name}.safetensors`;
    const weight = Float32Array.from({ length: 6 }, (_, j) => j + 10 * i);
    await writeSafetensors(
      join(folder, location),
      new Map([
        ['other', { shape: [5], values: new Float32Array(5) }],
        ['weight', { shape: [2, 3], values: weight }],
      ]),
    );
    const { offset, length } = (await openSafetensors(join(folder, location))).tensors.get('weight')!;
    products.push(
      graph.gemm(a, graph.external(name, 'float32', [2, 3], { location, offset, length }), undefined, {
        transB: true,
      }),
    );
  }
  graph.output('y', graph.concat(products, 1));
  const { y } = await run(graph, { a: { data: Float32Array.of(1, 0, 2), dims: [1, 3] } }, folder);
  expect([...y.data]).toEqual([4, 13, 34, 43]);
  expect(graph.toBytes().length).toBeLessThan(1000);
  await rm(folder, { recursive: true });
});

test.each<[string, (graph: Graph, x: Tensor) => unknown]>([
  ['Add: shapes (B, 6) and (4) do not broadcast', (g, x) => g.add(x, g.constant([4], [1, 2, 3, 4]))],
  ['MatMul: (B, 6) and (B, 6) do not multiply', (g, x) => g.matMul(x, x)],
  ['Gemm: (B, 6) and (B, 6) do not multiply', (g, x) => g.gemm(x, x)],
  ['Reshape: (B, 6) does not become (B, 5)', (g, x) => g.reshape(x, ['B', 5])],
  ['Transpose: [0, 0] does not permute (B, 6)', (g, x) => g.transpose(x, [0, 0])],
  ['Split: axis 1 of (B, 6) has no 4 equal parts', (g, x) => g.split(x, 4, 1)],
  ['Slice: 4..8 is not inside axis 1 of (B, 6)', (g, x) => g.slice(x, 1, 4, 8)],
  ['Concat: (B, 3) does not join (B, 6) on axis 0', (g, x) => g.concat([x, g.slice(x, 1, 0, 3)], 0)],
  ['ReduceSum: (B, 6) has no axis 2', (g, x) => g.reduceSum(x, [2])],
  ['the graph has a tensor x already', (g) => g.input('x', [1])],
  ['a graph without outputs computes nothing', (g) => g.toBytes()],
  [
    'LayerNormalization: constant_0 has shape (1), expected (6)',
    (g, x) => g.layerNormalization(x, g.constant([1], [1]), g.constant([1], [1]), 1e-5),
  ],
])('says what is wrong: %s', (message, build) => {
  const graph = new Graph();
  const x = graph.input('x', ['B', 6]);
  expect(() => build(graph, x)).toThrow(message);
});
