import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { golden, GOLDEN_FOLDER, maxAbs, maxError, openGolden } from '../../fixtures/golden.ts';
import { weightsFolder } from '../bundle/registry.ts';
import { openSafetensors, readFloats, writeSafetensors } from '../safetensors.ts';
import type { Safetensors, TensorValues } from '../safetensors.ts';
import { importWeights } from './import-weights.ts';
import { listWeights } from './store.ts';
import type { TargetSize } from './vit-shape.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'weights-'));
});
afterEach(() => rm(root, { recursive: true }));

const origin = { source: 'golden', licence: 'MIT' };
const raw = (name: string) => join(GOLDEN_FOLDER, 'weights', `${name}.pth`);

/** Imports a file that holds one encoder. */
async function importEncoder(path: string, target?: TargetSize): Promise<Safetensors> {
  const [{ sha256 }, ...others] = await importWeights(root, path, origin, target);
  expect(others).toEqual([]);
  return openSafetensors(join(weightsFolder(root), `${sha256}.safetensors`));
}

/** Expects the tensors of a golden file whose names begin with `prefix`, except a classifier, and no others. */
async function expectTensors(
  file: Safetensors,
  name: string,
  prefix: string,
  tolerance: number,
): Promise<void> {
  const names = [...(await openGolden(name)).tensors.keys()]
    .filter((key) => key.startsWith(prefix) && !key.startsWith(`${prefix}head.`))
    .map((key) => key.slice(prefix.length));
  expect([...file.tensors.keys()].sort()).toEqual(names.sort());
  for (const key of names) {
    const expected = await golden(name, prefix + key);
    const error = maxError(await readFloats(file, key), expected) / maxAbs(expected);
    expect({ key, close: error <= tolerance }).toEqual({ key, close: true });
  }
}

test.each([
  ['openclip', 'p14_56', { imageSize: 56 }],
  ['dino_b8', 'p8_56', { imageSize: 56 }],
  ['dinov2_noreg', 'p14_56', { imageSize: 56 }],
  ['dinov2_reg4', 'p14_56', { imageSize: 56 }],
  ['dinov2_reg4', 'p14_70', { imageSize: 70 }],
  ['mae', 'p16_64', { imageSize: 64 }],
  ['mae', 'p8_64', { imageSize: 64, patchSize: 8 }],
  ['mae', 'p32_64', { imageSize: 64, patchSize: 32 }],
  ['mae', 'p28_56', { imageSize: 56, patchSize: 28 }],
  ['mae', 'p56_112', { imageSize: 112, patchSize: 56 }],
])('%s is converted and resampled to %s as timm does', async (name, tag, target) => {
  // timm resamples in float32.
  await expectTensors(await importEncoder(raw(`${name}_raw`), target), `${name}_timm`, `${tag}.sd.`, 2e-6);
});

test('an original DINOv2 file becomes the encoder inside the QFAE checkpoint', async () => {
  const file = await importEncoder(raw('raw_encoder_dinov2_reg4'), { imageSize: 112 });
  await expectTensors(file, 'model', 'encoders.0.model.', 1e-6);
});

test('a QFAE checkpoint is stored as its encoder and its head, and nothing is changed', async () => {
  const [encoder, head] = await importWeights(root, raw('model'), origin);
  expect(encoder).toMatchObject({ content: 'encoder', prefix: 'encoders.0.model.', ...origin });
  expect(encoder.vit).toEqual({
    dim: 64,
    depth: 5,
    patchSize: 14,
    positionGrid: 8,
    mlpRatio: 4,
    registers: 4,
    noEmbedClass: true,
    layerScale: true,
    normPre: false,
    patchBias: true,
  });
  expect(head).toMatchObject({ content: 'head', prefix: '', names: 'QFAE' });
  const stored = await Promise.all(
    [encoder, head].map(({ sha256 }) => openSafetensors(join(weightsFolder(root), `${sha256}.safetensors`))),
  );
  await expectTensors(stored[0], 'model', 'encoders.0.model.', 0);
  expect(stored[0].tensors.size + stored[1].tensors.size).toBe(131);
  for (const name of stored[1].tensors.keys()) {
    expect(maxError(await readFloats(stored[1], name), await golden('model', name))).toBe(0);
  }
});

test('the same tensors are stored once, whatever file they came from', async () => {
  const first = await importWeights(root, raw('model'), origin);
  const again = await importWeights(root, join(GOLDEN_FOLDER, 'model.safetensors'), {
    source: 'elsewhere',
    licence: 'none',
  });
  expect(again).toEqual(first);
  expect(await listWeights(root)).toEqual(first.reverse());
  expect(await readdir(weightsFolder(root))).toHaveLength(4);
});

test.each<[string, (tensors: Map<string, TensorValues>) => void, string]>([
  [
    'a parameter of the Q-Former',
    (tensors) => tensors.delete('junction.blocks.0.cross_attn.null_kv'),
    'junction.blocks.0.cross_attn.null_kv is missing',
  ],
  [
    'the encoder',
    (tensors) => {
      for (const name of [...tensors.keys()].filter((name) => name.includes('.model.'))) tensors.delete(name);
    },
    'a QFAE checkpoint without encoder',
  ],
  [
    'half of a projection',
    (tensors) =>
      tensors.set('encoders.0.final_projection.bias', { shape: [24], values: new Float32Array(24) }),
    'encoders.0.final_projection.bias has shape (24), expected (48)',
  ],
  [
    'nothing, but has a second Q-Former block',
    (tensors) => tensors.set('junction.blocks.1.x', { shape: [1], values: new Float32Array(1) }),
    'junction.blocks.1.x is no parameter of a QFAE model',
  ],
])('a checkpoint that lacks %s is refused, and nothing is stored', async (_, change, message) => {
  const file = await openGolden('model');
  const tensors = new Map<string, TensorValues>();
  for (const [name, { shape }] of file.tensors)
    tensors.set(name, { shape, values: await readFloats(file, name) });
  change(tensors);
  const path = join(root, 'changed.safetensors');
  await writeSafetensors(path, tensors);
  await expect(importWeights(root, path, origin)).rejects.toThrow(message);
  expect(await readdir(root)).toEqual(['changed.safetensors']);
});
