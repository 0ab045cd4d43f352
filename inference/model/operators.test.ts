import { golden, maxError, openGolden } from '../../fixtures/golden.ts';
import { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { Session } from '../session.ts';
import type { TensorValue } from '../session.ts';
import { sincosPositions, unpatchify } from './decoder.ts';
import { cosineDistance } from './perceptual.ts';

/** Runs what `build` emits on tensors of `golden/units.safetensors`. */
async function runUnits(
  names: string[],
  build: (graph: Graph, ...inputs: Tensor[]) => Tensor,
): Promise<Float32Array> {
  const file = await openGolden('units');
  const graph = new Graph();
  const inputs = names.map((name) => graph.input(name, file.tensors.get(name)!.shape));
  graph.output('out', build(graph, ...inputs));
  const session = await Session.open({ graph: graph.toBytes() });
  const feeds: Record<string, TensorValue> = {};
  for (const name of names) {
    feeds[name] = { data: await golden('units', name), dims: file.tensors.get(name)!.shape };
  }
  const { out } = await session.run(feeds);
  await session.close();
  return out.data;
}

test.each([
  [96, 14],
  [32, 3],
])('sine-cosine positions of dimension %d on a %d grid', async (dim, grid) => {
  const expected = await golden('units', `sincos.${dim}.${grid}`);
  expect(maxError(sincosPositions(dim, grid), expected)).toBeLessThan(1e-7);
});

test('unpatchify', async () => {
  const planes = await runUnits(['unpatchify.in'], (graph, patches) => unpatchify(graph, patches, 2));
  expect(maxError(planes, await golden('units', 'unpatchify.out'))).toBe(0);
});

test('GELU is the exact one', async () => {
  const y = await runUnits(['gelu.x'], (graph, x) => graph.gelu(x));
  expect(maxError(y, await golden('units', 'gelu.y'))).toBeLessThan(1e-6);
});

test('cosine distance of vectors with a tiny norm', async () => {
  const y = await runUnits(['cos.a', 'cos.b'], (graph, a, b) => {
    const channelsLast = (x: Tensor) => graph.transpose(x, [0, 2, 3, 1]);
    return cosineDistance(graph, channelsLast(a), channelsLast(b));
  });
  const similarity = await golden('units', 'cos.y');
  expect(
    maxError(
      y,
      similarity.map((value) => 1 - value),
    ),
  ).toBeLessThan(1e-6);
});

test.each([1e-6, 1e-5])('LayerNorm with epsilon %d', async (epsilon) => {
  const y = await runUnits(['ln.x'], (graph, x) => {
    const constant = (value: number) => graph.constant([16], new Array<number>(16).fill(value));
    return graph.layerNormalization(x, constant(1), constant(0), epsilon);
  });
  const name = epsilon === 1e-6 ? 'ln.eps1e-6' : 'ln.eps1e-5';
  // Values of variance 1e-6 about 0.3: float32 itself rounds to 2e-5 here, the two epsilons differ by 0.9.
  expect(maxError(y, await golden('units', name))).toBeLessThan(1e-4);
});
