import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { golden, goldenConfig, GOLDEN_FOLDER, maxAbs, maxError, openGolden } from '../../fixtures/golden.ts';
import { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { Session } from '../session.ts';
import type { Comparison } from './config.ts';
import { weightFiles } from './parameters.ts';
import type { ParameterSource } from './parameters.ts';
import { qFormer } from './q-former.ts';
import { qfae } from './qfae.ts';
import type { QfaeOutput } from './qfae.ts';
import { imageReductionSchema, imageScore, pixelMap } from './scores.ts';

const BATCH = 2;
const SIDE = 112;

/** Emits the golden model, runs it on the golden images and returns the selected tensors by name. */
async function runGolden(
  comparison: Comparison,
  select: (graph: Graph, output: QfaeOutput) => Record<string, Tensor>,
): Promise<Record<string, Float32Array>> {
  const graph = new Graph();
  const parameters = weightFiles(graph, [
    { prefix: 'perceptual.', file: await openGolden('mae_p16'), location: 'mae_p16.safetensors' },
    { prefix: '', file: await openGolden('model'), location: 'model.safetensors' },
  ]);
  const x = graph.input('x', ['B', 3, SIDE, SIDE]);
  const output = qfae(graph, parameters, goldenConfig, comparison, x);
  for (const [name, tensor] of Object.entries(select(graph, output))) graph.output(name, tensor);

  const session = await Session.open({ graph: graph.toBytes(), weightsFolder: GOLDEN_FOLDER });
  const results = await session.run({
    x: { data: await golden('forward', 'x'), dims: [BATCH, 3, SIDE, SIDE] },
  });
  await session.close();
  return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data]));
}

/** (R, B, n) as PyTorch stacks it → (B, R, n) as our graph does. */
function batchFirst(values: Float32Array, blocks: number): Float32Array {
  const n = values.length / BATCH / blocks;
  const result = new Float32Array(values.length);
  for (let r = 0; r < blocks; r++) {
    for (let b = 0; b < BATCH; b++) {
      result.set(values.subarray((r * BATCH + b) * n, (r * BATCH + b + 1) * n), (b * blocks + r) * n);
    }
  }
  return result;
}

/** (B, D, g²) → (B, g², D). */
function channelsLast(values: Float32Array, dim: number): Float32Array {
  const positions = values.length / BATCH / dim;
  return Float32Array.from({ length: values.length }, (_, i) => {
    const [image, position, channel] = [
      Math.floor(i / (positions * dim)),
      Math.floor(i / dim) % positions,
      i % dim,
    ];
    return values[(image * dim + channel) * positions + position];
  });
}

function expectClose(actual: Float32Array, expected: Float32Array): void {
  expect(maxError(actual, expected) / maxAbs(expected)).toBeLessThan(1e-5);
}

describe('forward pass', () => {
  const taps: Record<string, (output: QfaeOutput) => Tensor> = {
    'enc.patch_embed': ({ encoders }) => encoders[0].patchEmbedding,
    'enc.tokens0': ({ encoders }) => encoders[0].tokens,
    'enc.block0': ({ encoders }) => encoders[0].blocks[0],
    'enc.block1': ({ encoders }) => encoders[0].blocks[1],
    'enc.block2': ({ encoders }) => encoders[0].blocks[2],
    'enc.block3': ({ encoders }) => encoders[0].blocks[3],
    'enc.block4': ({ encoders }) => encoders[0].blocks[4],
    features: ({ features }) => features,
    'junction.self_attn': ({ qFormer }) => qFormer.selfAttention!,
    'junction.attnmaps': ({ qFormer }) => qFormer.attentionMaps!,
    'junction.cross_attn': ({ qFormer }) => qFormer.crossAttention!,
    'junction.out': ({ qFormer }) => qFormer.output,
    'dec.embed': ({ decoder }) => decoder.embedding,
    'dec.block0': ({ decoder }) => decoder.blocks[0],
    'dec.block1': ({ decoder }) => decoder.blocks[1],
    'dec.norm': ({ decoder }) => decoder.normed,
    'dec.prediction': ({ decoder }) => decoder.prediction,
    x_hat: ({ decoder }) => decoder.reconstruction,
  };
  let results: Record<string, Float32Array>;

  beforeAll(async () => {
    results = await runGolden(goldenConfig.perceptual.score, (_, output) =>
      Object.fromEntries(Object.entries(taps).map(([name, tap]) => [name, tap(output)])),
    );
  });

  test.each(Object.keys(taps))('%s', async (name) => {
    const expected = await golden('forward', name);
    let actual = results[name];
    // Ours is computed once for all images; theirs is repeated for each.
    if (name === 'junction.self_attn') actual = Float32Array.from([...actual, ...actual]);
    // Theirs was kept for the first image only.
    if (name === 'junction.attnmaps') actual = actual.subarray(0, expected.length);
    expectClose(actual, expected);
  });
});

describe.each(['val', 'train'] as const)('perceptual comparison (%s)', (phase) => {
  const comparison = goldenConfig.perceptual[phase === 'val' ? 'score' : 'train'];
  const { patchSizes, blocks } = comparison;
  const file = `perceptual_${phase}`;
  let results: Record<string, Float32Array>;

  beforeAll(async () => {
    results = await runGolden(comparison, (graph, { perceptual }) => ({
      product: perceptual.map,
      loss: graph.reduceMean(perceptual.map, [2, 3]),
      ...Object.fromEntries(
        perceptual.scales.flatMap(({ patchSize, hiddenStates, distances, upsampled }) => [
          ...hiddenStates.flatMap(([ofX, ofReconstruction], i) => [
            [`p${patchSize}.h${blocks[i]}.x`, ofX] as const,
            [`p${patchSize}.h${blocks[i]}.xhat`, ofReconstruction] as const,
          ]),
          [`p${patchSize}.map_raw`, distances] as const,
          [`p${patchSize}.map_resized`, upsampled] as const,
        ]),
      ),
    }));
  });

  test.each(patchSizes.flatMap((p) => blocks.flatMap((h) => [`p${p}.h${h}.x`, `p${p}.h${h}.xhat`])))(
    '%s',
    async (name) => {
      const expected = channelsLast(await golden(file, name), goldenConfig.perceptual.vit.dim);
      expectClose(results[name], expected);
    },
  );

  const maps = patchSizes.flatMap((p) =>
    phase === 'val' ? [`p${p}.map_raw`, `p${p}.map_resized`] : [`p${p}.map_raw`],
  );
  test.each(phase === 'val' ? maps : [...maps, 'product'])('%s', async (name) => {
    const expected = batchFirst(await golden(file, name), blocks.length);
    expect(maxError(results[name], expected)).toBeLessThan(3e-6);
  });

  if (phase === 'train') {
    test('training loss', async () => {
      const { train_loss_RB, train_loss_scalar } = await goldenScores();
      const expected = batchFirst(Float32Array.from(train_loss_RB.flat()), blocks.length);
      expect(maxError(results['loss'], expected)).toBeLessThan(3e-6);
      const mean = results['loss'].reduce((sum, value) => sum + value, 0) / results['loss'].length;
      expect(Math.abs(mean - train_loss_scalar)).toBeLessThan(3e-6);
    });
  }
});

interface GoldenScores {
  image_scores: Record<string, number[]>;
  train_loss_RB: number[][];
  train_loss_scalar: number;
}

async function goldenScores(): Promise<GoldenScores> {
  return JSON.parse(await readFile(join(GOLDEN_FOLDER, 'scores.json'), 'utf8')) as GoldenScores;
}

describe('scores', () => {
  let results: Record<string, Float32Array>;

  beforeAll(async () => {
    results = await runGolden(goldenConfig.perceptual.score, (graph, { perceptual: { map } }) => ({
      map,
      'pixel mean': pixelMap(graph, map, 'mean'),
      'pixel max': pixelMap(graph, map, 'max'),
      'pixel downsample_8x8': pixelMap(graph, map, 'downsample_8x8'),
      ...Object.fromEntries(
        imageReductionSchema.options.map((reduction) => [reduction, imageScore(graph, map, reduction)]),
      ),
    }));
  });

  test('anomaly map', async () => {
    const expected = batchFirst(await golden('anomaly_map', 'amap'), 3);
    expect(maxError(results['map'], expected)).toBeLessThan(3e-6);
  });

  test.each(imageReductionSchema.options)('image score by %s', async (reduction) => {
    const { image_scores } = await goldenScores();
    expect(maxError(results[reduction], image_scores[reduction])).toBeLessThan(3e-6);
  });

  test.each([
    ['mean|mean', 'mean'],
    ['mean|max', 'max'],
    ['max|mean', 'mean'],
    ['max|max', 'max'],
    ['pixelwise_mean_max|mean', 'mean'],
    ['pixelwise_max_mean|mean', 'max'],
    ['downsample_8x8|mean', 'downsample_8x8'],
  ])('pixel map of %s', async (name, reduction) => {
    const expected = await golden('anomaly_map', `pixel.${name}`);
    expect(maxError(results[`pixel ${reduction}`], expected)).toBeLessThan(3e-6);
  });
});

test('two encoders: their projected tokens stand one after the other', async () => {
  const graph = new Graph();
  const stored = weightFiles(graph, [
    { prefix: 'perceptual.', file: await openGolden('mae_p16'), location: 'mae_p16.safetensors' },
    { prefix: '', file: await openGolden('model'), location: 'model.safetensors' },
  ]);
  const twice: ParameterSource = (name, ...shape) =>
    stored(name.replace('encoders.1.', 'encoders.0.'), ...shape);
  const [encoder] = goldenConfig.encoders;
  const pair = { ...goldenConfig, encoders: [encoder, { ...encoder, hiddenStates: [-2] }] };
  const x = graph.input('x', ['B', 3, SIDE, SIDE]);
  graph.output('features', qfae(graph, twice, pair, pair.perceptual.score, x).features);
  const session = await Session.open({ graph: graph.toBytes(), weightsFolder: GOLDEN_FOLDER });
  const input = { data: await golden('forward', 'x'), dims: [BATCH, 3, SIDE, SIDE] };
  const { features } = await session.run({ x: input });
  await session.close();

  const expected = await golden('forward', 'features'); // (B, 2·69, D): block −2, then block −4
  const image = expected.length / BATCH;
  expectClose(
    features.data,
    Float32Array.from(
      [0, 1].flatMap((b) => {
        const first = expected.subarray(b * image, (b + 1) * image);
        return [...first, ...first.subarray(0, image / 2)];
      }),
    ),
  );
});

test('without a Q-Former the decoder reads the patches, without the tokens before them', async () => {
  const graph = new Graph();
  const [tokens, patches, dim] = [7, 4, 3];
  const features = graph.input('features', ['B', tokens, dim]);
  const none: ParameterSource = (name) => {
    throw new Error(`the Q-Former has no ${name}`);
  };
  const { output } = qFormer(graph, none, { dim, heads: 1, outputDim: dim, bypass: true }, patches, features);
  graph.output('output', output);
  const session = await Session.open({ graph: graph.toBytes() });
  const data = Float32Array.from({ length: 2 * tokens * dim }, (_, i) => i);
  const result = await session.run({ features: { data: data.slice(), dims: [2, tokens, dim] } });
  await session.close();
  expect(result.output.dims).toEqual([2, patches, dim]);
  expect([...result.output.data]).toEqual([...data.subarray(9, 21), ...data.subarray(30, 42)]);
});
