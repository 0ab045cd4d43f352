import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { goldenConfig, GOLDEN_FOLDER } from '../../fixtures/golden.ts';
import { modelConfigSchema } from './config.ts';
import { initialValues, parameterShapes } from './initial-values.ts';
import { encoders, modelConfig, tasks } from './presets.ts';
import type { EncoderName } from './presets.ts';

const count = (shapes: Iterable<readonly number[]>) =>
  [...shapes].reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 1), 0);

/** Parameters of the checkpoint: the perceptual model is not in it. */
const inCheckpoint = (shapes: Map<string, readonly number[]>) =>
  [...shapes].filter(([name]) => !name.startsWith('perceptual.'));

describe.each(Object.entries(tasks))('%s', (_, task) => {
  test.each([8, 16, 32] as const)('decoder patch size %d is a valid model', (patchSize) => {
    const config = modelConfigSchema.parse(modelConfig(task, patchSize));
    expect(parameterShapes(config).get('junction.queries')).toEqual([1, (224 / patchSize) ** 2, 768]);
  });
});

test('brain-mri has as many trained values as the released checkpoint', () => {
  const shapes = parameterShapes(modelConfig(tasks['brain-mri']));
  const part = (prefix: string) =>
    count([...shapes].filter(([name]) => name.startsWith(prefix)).map(([, shape]) => shape));
  expect(part('encoders.0.final_projection.')).toBe(787_200);
  expect(part('junction.')).toBe(8_230_976);
  expect(part('decoder.')).toBe(43_872_960);
});

test("brain-mri has the keys of the released checkpoint, but for the encoder's unused final norm", () => {
  expect(inCheckpoint(parameterShapes(modelConfig(tasks['brain-mri'])))).toHaveLength(445 - 2);
});

test('names and shapes are those of the golden checkpoint', () => {
  const bytes = readFileSync(join(GOLDEN_FOLDER, 'model.safetensors'));
  const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString();
  const stored = Object.entries(JSON.parse(header) as Record<string, { shape: number[] }>)
    .filter(([name]) => name !== '__metadata__' && !name.startsWith('encoders.0.model.norm.'))
    .map(([name, { shape }]) => [name, shape]);
  expect(Object.fromEntries(inCheckpoint(parameterShapes(goldenConfig)))).toEqual(Object.fromEntries(stored));
});

test('initial values have the deviation that PyTorch gives them', () => {
  const shapes = parameterShapes(goldenConfig);
  let state = 0.5;
  const random = () => (state = (state * 997.13 + 0.1234567) % 1);
  const moments = (name: string) => {
    const values = initialValues(name, shapes, random);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const square = values.reduce((sum, value) => sum + value * value, 0) / values.length;
    return [mean, Math.sqrt(square)];
  };
  // U(±b) has deviation b/√3.
  const linear = moments('decoder.decoder_blocks.0.mlp.fc2.weight');
  expect(linear[0]).toBeCloseTo(0, 2);
  expect(linear[1] / (1 / Math.sqrt(256 * 3))).toBeCloseTo(1, 1);
  const queries = moments('junction.queries');
  expect(queries[1] / 1e-3).toBeCloseTo(1, 1);
  expect(moments('junction.blocks.0.cross_attn.norm.weight')).toEqual([1, 1]);
  expect(moments('junction.blocks.0.cross_attn.norm.bias')).toEqual([0, 0]);
});

test('a configuration that cannot be built is refused with the reason', () => {
  const config = modelConfig(tasks['brain-mri']);
  const refuse = (change: object) => modelConfigSchema.safeParse({ ...config, ...change }).error?.message;
  expect(refuse({ imageSize: 225 })).toContain('patches of 14 do not tile an image of 225');
  expect(refuse({ qFormer: { ...config.qFormer, heads: 7 } })).toContain('qFormer.heads must divide');
  const perceptual = { ...config.perceptual, score: { patchSizes: [16], blocks: [24] } };
  expect(refuse({ perceptual })).toContain('perceptual block 24 of 24 does not exist');
});

describe.each(Object.keys(encoders) as EncoderName[])('%s', (name) => {
  const vit = encoders[name];
  const brain = modelConfig({ ...tasks['brain-mri'], encoders: [name] });

  test('alone, and beside each other one, is a valid model', () => {
    expect(parameterShapes(modelConfigSchema.parse(brain)).get('encoders.0.final_projection.weight')).toEqual(
      [768, vit.dim],
    );
    for (const other of Object.keys(encoders) as EncoderName[]) {
      const pair = modelConfig({ ...tasks['brain-mri'], encoders: [name, other] });
      expect(modelConfigSchema.parse(pair)).toEqual(pair);
    }
  });

  test('without a Q-Former, at its own patch size, has all parameters but those of the Q-Former', () => {
    const config = modelConfigSchema.parse({
      ...brain,
      encoders: [{ vit, hiddenStates: [-2] }],
      qFormer: { ...brain.qFormer, bypass: true },
      decoder: { ...brain.decoder, patchSize: vit.patchSize },
    });
    const names = [...parameterShapes(config).keys()];
    expect(names.filter((name) => name.startsWith('junction.'))).toEqual([]);
    expect(parameterShapes(config).get('decoder.decoder_pos_embed')).toEqual([
      1,
      (224 / vit.patchSize) ** 2,
      768,
    ]);
  });
});

test('every patch size of the perceptual model, at every block', () => {
  const config = modelConfig(tasks['brain-mri']);
  const all = { patchSizes: [8, 16, 28, 32, 56], blocks: Array.from({ length: 24 }, (_, i) => i) };
  const perceptual = { ...config.perceptual, train: all, score: all };
  expect(modelConfigSchema.parse({ ...config, perceptual })).toEqual({ ...config, perceptual });
});

test('a model without a Q-Former that does not fit together is refused with the reason', () => {
  const config = modelConfig(tasks['brain-mri-pair'], 16);
  const qFormer = { ...config.qFormer, outputDim: 512, bypass: true as const };
  const message = modelConfigSchema.safeParse({ ...config, qFormer }).error?.message;
  expect(message).toContain('one encoder, read at one block');
  expect(message).toContain("the decoder's patches are those of the encoder");
  expect(message).toContain('outputDim is dim');
});
