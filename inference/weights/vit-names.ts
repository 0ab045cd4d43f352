import { elements } from './tensor.ts';
import type { LazyTensor, StateDictionary } from './tensor.ts';

/*
 * The names that publishers give the parameters of a Vision Transformer, translated to timm's, which the model
 * uses. Sources: timm/models/vision_transformer.py (`_convert_dinov2`, `_convert_openai_clip`) and the conversion
 * scripts in transformers/models/{dinov2,dinov2_with_registers,vit_mae,vit,clip}.
 */

/** How a file names its parameters. */
export type VitFamily =
  'timm' | 'DINOv2' | 'MAE with decoder' | 'OpenCLIP' | 'transformers ViT' | 'transformers CLIP';

interface Convention {
  readonly family: VitFamily;
  /** Whether names are of this convention. The first that fits is taken. */
  readonly fits: (has: (name: string) => boolean) => boolean;
  readonly convert: (state: StateDictionary) => Map<string, LazyTensor>;
}

const CONVENTIONS: readonly Convention[] = [
  { family: 'OpenCLIP', fits: (has) => has('visual.conv1.weight'), convert: openClip },
  {
    family: 'transformers CLIP',
    fits: (has) => has('vision_model.embeddings.patch_embedding.weight'),
    convert: transformersClip,
  },
  {
    family: 'transformers ViT',
    fits: (has) =>
      ['', 'vit.', 'dinov2.', 'dinov2_with_registers.'].some((prefix) =>
        has(`${prefix}embeddings.patch_embeddings.projection.weight`),
      ),
    convert: transformersVit,
  },
  {
    family: 'MAE with decoder',
    fits: (has) => has('patch_embed.proj.weight') && has('decoder_embed.weight'),
    convert: (state) => without(state, /^(mask_token$|decoder_)/),
  },
  { family: 'DINOv2', fits: (has) => has('patch_embed.proj.weight') && has('mask_token'), convert: dinov2 },
  { family: 'timm', fits: (has) => has('patch_embed.proj.weight'), convert: (state) => new Map(state) },
];

/**
 * The encoder in a file, under timm's names and without a classifier. Throws if the file's names are none of
 * the known conventions.
 */
export function toTimmNames(state: StateDictionary): { family: VitFamily; state: Map<string, LazyTensor> } {
  const convention = CONVENTIONS.find(({ fits }) => fits((name) => state.has(name)));
  if (!convention) {
    const names = [...state.keys()].slice(0, 3).join(', ');
    throw new Error(`no encoder that is known: its tensors are named ${names}…`);
  }
  return {
    family: convention.family,
    state: without(convention.convert(state), /^(head|head_dist|fc_norm)\./),
  };
}

function without(state: StateDictionary, pattern: RegExp): Map<string, LazyTensor> {
  return new Map([...state].filter(([name]) => !pattern.test(name)));
}

/** With registers the position embedding covers the patches only; the class token's is added to the token. */
function dinov2(state: StateDictionary): Map<string, LazyTensor> {
  const result = without(state, /^(mask_token|register_tokens)$/);
  const registers = state.get('register_tokens');
  if (!registers) return result;
  const [cls, positions] = [take(state, 'cls_token'), take(state, 'pos_embed')];
  const [, tokens, dim] = positions.shape;
  result.set('reg_token', registers);
  result.set('cls_token', {
    ...cls,
    async read() {
      const [token, position] = [await cls.read(), await positions.read()];
      return token.map((value, i) => value + position[i]);
    },
  });
  result.set('pos_embed', {
    ...positions,
    shape: [1, tokens - 1, dim],
    read: async () => (await positions.read()).slice(dim),
  });
  return result;
}

/** Applied in this order to every name. */
const OPENCLIP_NAMES = [
  ['conv1', 'patch_embed.proj'],
  ['positional_embedding', 'pos_embed'],
  ['transformer.resblocks.', 'blocks.'],
  ['ln_pre', 'norm_pre'],
  ['ln_post', 'norm'],
  ['ln_', 'norm'],
  ['in_proj_', 'qkv.'],
  ['out_proj', 'proj'],
  ['mlp.c_fc', 'mlp.fc1'],
  ['mlp.c_proj', 'mlp.fc2'],
  ['class_embedding', 'cls_token'],
] as const;

/** The image tower; the projection to the space of texts and the text tower are left out. */
function openClip(state: StateDictionary): Map<string, LazyTensor> {
  const result = new Map<string, LazyTensor>();
  for (const [name, tensor] of state) {
    if (!name.startsWith('visual.') || name === 'visual.proj') continue;
    const renamed = OPENCLIP_NAMES.reduce((text, [from, to]) => text.replace(from, to), name.slice(7));
    result.set(renamed, clipTensor(renamed, tensor));
  }
  return result;
}

/** CLIP stores the class token as (D) and the positions as (tokens, D). */
function clipTensor(name: string, tensor: LazyTensor): LazyTensor {
  if (name === 'cls_token') return { ...tensor, shape: [1, 1, elements(tensor.shape)] };
  if (name === 'pos_embed') return { ...tensor, shape: [1, ...tensor.shape] };
  return tensor;
}

const CLIP_NAMES: Readonly<Record<string, string>> = {
  'embeddings.class_embedding': 'cls_token',
  'embeddings.position_embedding.weight': 'pos_embed',
  'embeddings.patch_embedding': 'patch_embed.proj',
  pre_layrnorm: 'norm_pre',
  post_layernorm: 'norm',
  layer_norm1: 'norm1',
  layer_norm2: 'norm2',
  'mlp.fc1': 'mlp.fc1',
  'mlp.fc2': 'mlp.fc2',
  'self_attn.out_proj': 'attn.proj',
};

function transformersClip(state: StateDictionary): Map<string, LazyTensor> {
  const vision = new Map(
    [...state]
      .filter(([name]) => name.startsWith('vision_model.') && !name.endsWith('position_ids'))
      .map(([name, tensor]) => [name.slice('vision_model.'.length), tensor]),
  );
  const result = renamed(vision, /^encoder\.layers\.(\d+)\.(.+)$/, CLIP_NAMES, [
    'self_attn.q_proj',
    'self_attn.k_proj',
    'self_attn.v_proj',
  ]);
  return new Map([...result].map(([name, tensor]) => [name, clipTensor(name, tensor)]));
}

const VIT_NAMES: Readonly<Record<string, string>> = {
  'embeddings.cls_token': 'cls_token',
  'embeddings.register_tokens': 'register_tokens',
  'embeddings.mask_token': 'mask_token',
  'embeddings.position_embeddings': 'pos_embed',
  'embeddings.patch_embeddings.projection': 'patch_embed.proj',
  layernorm: 'norm',
  // ViT and ViT-MAE
  layernorm_before: 'norm1',
  layernorm_after: 'norm2',
  'intermediate.dense': 'mlp.fc1',
  'output.dense': 'mlp.fc2',
  // DINOv2
  norm1: 'norm1',
  norm2: 'norm2',
  'mlp.fc1': 'mlp.fc1',
  'mlp.fc2': 'mlp.fc2',
  'layer_scale1.lambda1': 'ls1.gamma',
  'layer_scale2.lambda1': 'ls2.gamma',
  'attention.output.dense': 'attn.proj',
};

/** ViT (DINO), ViT-MAE and DINOv2; a decoder, a classifier and the pooler are left out. */
function transformersVit(state: StateDictionary): Map<string, LazyTensor> {
  const encoder = new Map(
    [...without(state, /^(decoder\.|classifier\.|pooler\.|vit\.pooler\.)/)].map(([name, tensor]) => [
      name.replace(/^(vit|dinov2|dinov2_with_registers)\./, ''),
      tensor,
    ]),
  );
  return dinov2(
    renamed(encoder, /^encoder\.layer\.(\d+)\.(.+)$/, VIT_NAMES, [
      'attention.attention.query',
      'attention.attention.key',
      'attention.attention.value',
    ]),
  );
}

/** Renames modules by a table, blocks by a pattern, and joins query, key and value to one matrix. */
function renamed(
  state: StateDictionary,
  block: RegExp,
  names: Readonly<Record<string, string>>,
  [query, key, value]: readonly [string, string, string],
): Map<string, LazyTensor> {
  const result = new Map<string, LazyTensor>();
  for (const [name, tensor] of state) {
    const [, index, inner = name] = block.exec(name) ?? [];
    const [, module = inner, suffix = ''] = /^(.+)(\.weight|\.bias)$/.exec(inner) ?? [];
    const prefix = index === undefined ? '' : `blocks.${index}.`;
    const at = (part: string) => take(state, name.replace(query, part));
    if (module === query) result.set(`${prefix}attn.qkv${suffix}`, joinRows([tensor, at(key), at(value)]));
    else if (module !== key && module !== value) {
      const known = names[inner] ?? (module in names ? names[module] + suffix : undefined);
      if (known === undefined) throw new Error(`${name} is no parameter of an encoder that is known`);
      result.set(prefix + known, tensor);
    }
  }
  return result;
}

/** Matrices or vectors below each other. */
function joinRows(parts: readonly LazyTensor[]): LazyTensor {
  const [first] = parts;
  return {
    shape: [parts.reduce((sum, { shape }) => sum + shape[0], 0), ...first.shape.slice(1)],
    dtype: first.dtype,
    async read() {
      const values: Float32Array[] = [];
      for (const part of parts) values.push(await part.read());
      const result = new Float32Array(values.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const rows of values) {
        result.set(rows, at);
        at += rows.length;
      }
      return result;
    },
  };
}

function take(state: StateDictionary, name: string): LazyTensor {
  const tensor = state.get(name);
  if (!tensor) throw new Error(`${name} is missing`);
  return tensor;
}
