import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { golden, goldenConfig, GOLDEN_FOLDER, maxAbs, maxError, openGolden } from '../fixtures/golden.ts';
import { exactInt8 } from './exact-int8.ts';
import type { MountedWeights } from './model/parameters.ts';
import { openSafetensors, readFloats, writeSafetensors } from './safetensors.ts';
import type { TensorValues } from './safetensors.ts';
import { scoringGraph } from './scoring-graph.ts';
import { Session } from './session.ts';

const profile = {
  name: 'golden',
  preprocessing: { mean: 0.449, std: 0.226 },
  maxSlices: null,
  sampling: 'even' as const,
  reductions: { image: 'max|mean' as const, map: 'mean' as const, study: 'max' as const },
};

const bundle = { model: goldenConfig, profile };

async function mounts(folder = GOLDEN_FOLDER): Promise<MountedWeights[]> {
  const mount = async (prefix: string, name: string) => {
    const location = `${name}.safetensors`;
    return { prefix, location, file: await openSafetensors(join(folder, location)) };
  };
  return [await mount('perceptual.', 'mae_p16'), await mount('', 'model')];
}

async function run(graph: Uint8Array, weightsFolder: string) {
  const session = await Session.open({ graph, weightsFolder });
  const x = { data: await golden('forward', 'x'), dims: [2, 3, 112, 112] };
  const results = await session.run({ x });
  await session.close();
  return results;
}

test('scores, maps and reconstructs as the released code', async () => {
  const graph = scoringGraph(bundle, await mounts(), { reconstruction: true }).toBytes();
  const { score, map, reconstruction } = await run(graph, GOLDEN_FOLDER);
  expect(map.dims).toEqual([2, 112, 112]);
  expect(maxError(map.data, await golden('anomaly_map', 'pixel.max|mean'))).toBeLessThan(3e-6);
  expect(maxError(score.data, [0.6092194318771362, 0.5980431437492371])).toBeLessThan(3e-6);
  const expected = await golden('forward', 'x_hat');
  expect(maxError(reconstruction.data, expected) / maxAbs(expected)).toBeLessThan(1e-5);
});

test('float16 deviates from the released code by no more than 0.003 in the score and 0.005 in the map', async () => {
  const graph = scoringGraph(bundle, await mounts(), { precision: 'float16' }).toBytes();
  const { score, map } = await run(graph, GOLDEN_FOLDER);
  expect(maxError(score.data, [0.6092194318771362, 0.5980431437492371])).toBeLessThan(3e-3);
  const deviation = maxError(map.data, await golden('anomaly_map', 'pixel.max|mean'));
  expect(deviation).toBeLessThan(5e-3);
  expect(deviation).toBeGreaterThan(1e-5); // it was not float32
}, 300_000);

// Elsewhere `chooseRuntime` refuses it.
(exactInt8() ? test : test.skip)(
  'int8 deviates from the released code by no more than 0.02 in score and map',
  async () => {
    const graph = scoringGraph(bundle, await mounts(), { precision: 'int8' }).toBytes();
    const { score, map } = await run(graph, GOLDEN_FOLDER);
    expect(maxError(score.data, [0.6092194318771362, 0.5980431437492371])).toBeLessThan(0.02);
    const deviation = maxError(map.data, await golden('anomaly_map', 'pixel.max|mean'));
    expect(deviation).toBeLessThan(0.02);
    expect(deviation).toBeGreaterThan(1e-4); // it was not float32
  },
);

test('in float16, LayerNormalization, softmax and the reductions of the score stay in float32', async () => {
  const { nodes } = scoringGraph(bundle, await mounts(), { precision: 'float16' });
  const types = (...opTypes: string[]) => [
    ...new Set(
      nodes
        .filter(({ opType }) => opTypes.includes(opType))
        .flatMap(({ outputs }) => outputs.map(({ type }) => type)),
    ),
  ];
  expect(types('LayerNormalization', 'Softmax', 'ReduceSum', 'ReduceMean', 'ReduceMax')).toEqual(['float32']);
  expect(types('Gemm', 'Gelu')).toEqual(['float16']);
});

test('holds no weights, and no work after the last block that is compared', async () => {
  const bytes = Buffer.from(scoringGraph(bundle, await mounts()).toBytes());
  expect(bytes.length).toBeLessThan(200_000);
  expect(bytes.includes('perceptual.blocks.3.mlp.fc2.weight')).toBe(true);
  expect(bytes.includes('perceptual.blocks.4.')).toBe(false);
  expect(bytes.includes('encoders.0.model.blocks.3.mlp.fc2.weight')).toBe(true);
  expect(bytes.includes('encoders.0.model.blocks.4.')).toBe(false);
});

test('weights stored in half precision score nearly the same', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'half-'));
  for (const name of ['model', 'mae_p16']) {
    const file = await openGolden(name);
    const tensors = new Map<string, TensorValues>();
    for (const [tensor, { shape }] of file.tensors) {
      tensors.set(tensor, { shape, values: await readFloats(file, tensor), dtype: 'F16' });
    }
    await writeSafetensors(join(folder, `${name}.safetensors`), tensors);
  }
  const { score } = await run(scoringGraph(bundle, await mounts(folder)).toBytes(), folder);
  const error = maxError(score.data, [0.6092194318771362, 0.5980431437492371]);
  expect(error).toBeLessThan(5e-3);
  expect(error).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
});

test('says which weight is missing or has another shape', async () => {
  const [perceptual, model] = await mounts();
  expect(() => scoringGraph(bundle, [model])).toThrow(
    'no weight file holds perceptual.patch_embed.proj.weight (searched model.safetensors)',
  );
  const wider = { ...goldenConfig, qFormer: { ...goldenConfig.qFormer, outputDim: 60 } };
  expect(() => scoringGraph({ profile, model: wider }, [perceptual, model])).toThrow(
    'weight junction.blocks.0.projection.3.weight in model.safetensors has shape (56, 192), the model needs (60, 192)',
  );
});
