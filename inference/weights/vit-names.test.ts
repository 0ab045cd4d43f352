import { join } from 'node:path';
import { GOLDEN_FOLDER, maxError } from '../../fixtures/golden.ts';
import type { LazyTensor, StateDictionary } from './tensor.ts';
import { readTorchFile } from './torch-file.ts';
import { toTimmNames } from './vit-names.ts';
import { resampleVit, vitShape } from './vit-shape.ts';

const raw = (name: string) => readTorchFile(join(GOLDEN_FOLDER, 'weights', `${name}_raw.pth`));

/** Publishers' names ← original names, as the conversion scripts of transformers have them. */
type Renaming = readonly (readonly [from: RegExp, to: string])[];

const vitMae: Renaming = [
  [/^cls_token$/, 'vit.embeddings.cls_token'],
  [/^pos_embed$/, 'vit.embeddings.position_embeddings'],
  [/^patch_embed\.proj/, 'vit.embeddings.patch_embeddings.projection'],
  [/^norm\./, 'vit.layernorm.'],
  [/attn\.proj/, 'attention.output.dense'],
  [/norm1/, 'layernorm_before'],
  [/norm2/, 'layernorm_after'],
  [/mlp\.fc1/, 'intermediate.dense'],
  [/mlp\.fc2/, 'output.dense'],
  [/^blocks/, 'vit.encoder.layer'],
];
const dinov2: Renaming = [
  [/^(cls_token|mask_token|register_tokens)$/, 'embeddings.$1'],
  [/^pos_embed$/, 'embeddings.position_embeddings'],
  [/^patch_embed\.proj/, 'embeddings.patch_embeddings.projection'],
  [/^norm\./, 'layernorm.'],
  [/attn\.proj/, 'attention.output.dense'],
  [/ls(\d)\.gamma/, 'layer_scale$1.lambda1'],
  [/^blocks/, 'encoder.layer'],
];
const clip: Renaming = [
  [/^visual\.class_embedding/, 'vision_model.embeddings.class_embedding'],
  [/^visual\.positional_embedding/, 'vision_model.embeddings.position_embedding.weight'],
  [/^visual\.conv1/, 'vision_model.embeddings.patch_embedding'],
  [/^visual\.ln_pre/, 'vision_model.pre_layrnorm'],
  [/^visual\.ln_post/, 'vision_model.post_layernorm'],
  [/^visual\.proj/, 'visual_projection.weight'],
  [/^visual\.transformer\.resblocks/, 'vision_model.encoder.layers'],
  [/^transformer\.resblocks/, 'text_model.encoder.layers'],
  [/ln_(\d)/, 'layer_norm$1'],
  [/attn\.out_proj/, 'self_attn.out_proj'],
  [/mlp\.c_fc/, 'mlp.fc1'],
  [/mlp\.c_proj/, 'mlp.fc2'],
];

/** The same file as transformers writes it: renamed, with query, key and value apart. */
function asTransformers(
  state: StateDictionary,
  renaming: Renaming,
  joint: RegExp,
  parts: readonly string[],
): Map<string, LazyTensor> {
  return new Map(
    [...state].flatMap(([original, tensor]) => {
      const name = renaming.reduce((text, [from, to]) => text.replace(from, to), original);
      if (!joint.test(name)) return [[name, tensor] as const];
      const rows = tensor.shape[0] / 3;
      const length = rows * (tensor.shape[1] ?? 1);
      return parts.map((part, i) => {
        const third = {
          ...tensor,
          shape: [rows, ...tensor.shape.slice(1)],
          read: async () => (await tensor.read()).slice(i * length, (i + 1) * length),
        };
        return [name.replace(joint, part), third] as const;
      });
    }),
  );
}

const attention = ['query', 'key', 'value'].map((part) => `attention.attention.${part}.`);
const selfAttention = ['q_proj', 'k_proj', 'v_proj'].map((part) => `self_attn.${part}.`);

test.each([
  ['mae', 'ViT', vitMae, /attn\.qkv\./, attention],
  ['dinov2_noreg', 'ViT', dinov2, /attn\.qkv\./, attention],
  ['dinov2_reg4', 'ViT', dinov2, /attn\.qkv\./, attention],
  ['openclip', 'CLIP', clip, /attn\.in_proj_/, selfAttention],
])('%s under the names of transformers is the original', async (name, kind, renaming, joint, parts) => {
  const original = toTimmNames(await raw(name)).state;
  const converted = toTimmNames(asTransformers(await raw(name), renaming, joint, parts));
  expect(converted.family).toBe(`transformers ${kind}`);
  expect([...converted.state.keys()].sort()).toEqual([...original.keys()].sort());
  expect(vitShape(converted.state)).toEqual(vitShape(original));
  for (const [key, tensor] of original) {
    const error = maxError(await converted.state.get(key)!.read(), await tensor.read());
    expect({ key, error }).toEqual({ key, error: 0 });
  }
});

test('a MAE with its decoder is its encoder', async () => {
  const state = await raw('mae');
  const cls = state.get('cls_token')!;
  const full = new Map([
    ...state,
    ['mask_token', cls] as const,
    ['decoder_pos_embed', cls] as const,
    ['decoder_embed.weight', cls] as const,
    ['decoder_blocks.0.norm1.weight', cls] as const,
  ]);
  const { family, state: encoder } = toTimmNames(full);
  expect(family).toBe('MAE with decoder');
  expect([...encoder.keys()]).toEqual([...state.keys()]);
});

describe('refused', () => {
  /** The tiny DINO encoder, changed. */
  async function encoder(change: (state: Map<string, LazyTensor>) => void) {
    const state = new Map(await raw('dino_b8'));
    change(state);
    return state;
  }

  test.each<[string, (state: Map<string, LazyTensor>) => void, string]>([
    [
      'a missing block parameter',
      (state) => state.delete('blocks.1.mlp.fc2.bias'),
      'blocks.1.mlp.fc2.bias is missing',
    ],
    [
      'a block that is missing altogether',
      (state) => state.set('blocks.3.norm1.weight', state.get('norm.weight')!),
      'blocks.2.norm1.weight is missing',
    ],
    [
      'another shape',
      (state) => state.set('blocks.0.attn.qkv.bias', state.get('norm.bias')!),
      'blocks.0.attn.qkv.bias has shape (16), expected (48)',
    ],
    [
      'a parameter of another architecture',
      (state) => state.set('blocks.0.attn.q_norm.weight', state.get('norm.weight')!),
      'blocks.0.attn.q_norm.weight is no parameter of a Vision Transformer that is known',
    ],
    [
      'positions that are no square',
      (state) => state.set('pos_embed', { ...state.get('pos_embed')!, shape: [1, 12, 16] }),
      'pos_embed has 12 positions, which are no square grid',
    ],
  ])('%s', async (_, change, message) => {
    const state = await encoder(change);
    expect(() => vitShape(state)).toThrow(message);
  });

  test('names that nobody uses, and transformers names of another model', async () => {
    const [tensor] = (await raw('mae')).values();
    expect(() => toTimmNames(new Map([['conv1.weight', tensor]]))).toThrow(
      'no encoder that is known: its tensors are named conv1.weight',
    );
    const swin = new Map([
      ['embeddings.patch_embeddings.projection.weight', tensor],
      ['encoder.layer.0.window.weight', tensor],
    ]);
    expect(() => toTimmNames(swin)).toThrow(
      'encoder.layer.0.window.weight is no parameter of an encoder that is known',
    );
  });

  test('an image that patches do not tile', async () => {
    const { state } = toTimmNames(await raw('mae'));
    expect(() => resampleVit(state, { imageSize: 100 })).toThrow('patches of 16 do not tile an image of 100');
  });
});
