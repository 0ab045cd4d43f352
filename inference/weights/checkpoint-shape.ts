import { modelConfigSchema } from '../model/config.ts';
import type { ModelConfig } from '../model/config.ts';
import { parameterShapes } from '../model/initial-values.ts';
import type { StateDictionary } from './tensor.ts';
import type { VitShape } from './vit-shape.ts';

/**
 * Checks that the trained part of a QFAE checkpoint is whole: every parameter that the model definition has at the
 * sizes that the shapes show, and nothing else. Throws naming the parameter that is missing, of another shape, or
 * unknown.
 */
export function checkHead(head: StateDictionary, encoders: readonly VitShape[]): void {
  const shapeOf = (name: string) => {
    const tensor = head.get(name);
    if (!tensor) throw new Error(`${name} is missing`);
    return tensor.shape;
  };
  const patchSize = Math.sqrt(shapeOf('decoder.decoder_prediction.weight')[0] / 3);
  const [, patches, decoderDim] = shapeOf('decoder.decoder_pos_embed');
  const [, , dim] = shapeOf('junction.queries');
  const depth = [...head.keys()].reduce(
    (blocks, name) => Math.max(blocks, Number(/^decoder\.decoder_blocks\.(\d+)\./.exec(name)?.[1] ?? -1) + 1),
    0,
  );
  const config = modelConfigSchema.safeParse({
    imageSize: Math.sqrt(patches) * patchSize,
    encoders: encoders.map((vit) => ({ vit: { ...vit, ...UNSEEN }, hiddenStates: [-1] })),
    qFormer: {
      dim,
      // The one key of all heads has the width of a head: rows are dim + 2 · dim / heads.
      heads: (2 * dim) / (shapeOf('junction.blocks.0.attn.Wqkv.weight')[0] - dim),
      outputDim: shapeOf('decoder.decoder_embed.weight')[1],
    },
    decoder: {
      dim: decoderDim,
      depth,
      heads: 1,
      patchSize,
      registers: shapeOf('decoder.reg_tokens')[1],
      mlpRatio: shapeOf('decoder.decoder_blocks.0.mlp.fc1.weight')[0] / decoderDim,
    },
    // Not in a checkpoint; the encoder stands in its place.
    perceptual: {
      vit: { ...encoders[0], ...UNSEEN },
      train: { patchSizes: [encoders[0].patchSize], blocks: [0] },
      score: { patchSizes: [encoders[0].patchSize], blocks: [0] },
    },
  });
  if (!config.success) throw new Error('its shapes are not those of a QFAE model', { cause: config.error });
  expectHead(head, config.data);
}

/** What shapes do not show and do not depend on. */
const UNSEEN = { heads: 1, normEps: 1e-6 };

function expectHead(head: StateDictionary, config: ModelConfig): void {
  const expected = [...parameterShapes(config)].filter(
    ([name]) => !/^(perceptual|encoders\.\d+\.model)\./.test(name),
  );
  for (const [name, shape] of expected) {
    const actual = head.get(name)?.shape;
    if (!actual) throw new Error(`${name} is missing`);
    if (actual.join() !== shape.join()) {
      throw new Error(`${name} has shape (${actual.join(', ')}), expected (${shape.join(', ')})`);
    }
  }
  const names = new Set(expected.map(([name]) => name));
  for (const name of head.keys()) {
    if (!names.has(name)) throw new Error(`${name} is no parameter of a QFAE model`);
  }
}
