import { z } from 'zod';

const size = z.number().int().positive();
const block = z.number().int().nonnegative();

/** A Vision Transformer as timm builds it; the defaults are those of DINO and MAE. */
export const vitSchema = z
  .strictObject({
    dim: size,
    depth: size,
    heads: size,
    patchSize: size,
    /** Side of the position embedding's grid in the weight file; resampled where the image needs another. */
    positionGrid: size,
    mlpRatio: size.default(4),
    registers: block.default(0),
    /** `no_embed_class`: the position embedding covers the patches only. */
    noEmbedClass: z.boolean().default(false),
    layerScale: z.boolean().default(false),
    /** `norm_pre`: LayerNorm before the first block (CLIP). */
    normPre: z.boolean().default(false),
    patchBias: z.boolean().default(true),
    normEps: z.number().positive().default(1e-6),
  })
  .refine(({ dim, heads }) => dim % heads === 0, 'heads must divide dim');

/** A frozen encoder and the block outputs that the Q-Former reads; negative ones count from the end. */
const encoderSchema = z
  .strictObject({ vit: vitSchema, hiddenStates: z.array(z.number().int()).min(1) })
  .refine(
    ({ vit, hiddenStates }) => hiddenStates.every((index) => index >= -vit.depth && index < vit.depth),
    'hiddenStates must name blocks of the encoder',
  );

/** Which patch sizes (pixels) and blocks (counted from 0) of the perceptual model are compared. */
const comparisonSchema = z.strictObject({
  patchSizes: z.array(size).min(1),
  blocks: z.array(block).min(1),
});

/** Everything that decides the architecture. */
export const modelConfigSchema = z
  .strictObject({
    /** Side of the square input, in pixels. */
    imageSize: size,
    encoders: z.array(encoderSchema).min(1),
    qFormer: z.strictObject({
      /** Encoders are projected to it. */
      dim: size,
      heads: size,
      outputDim: size,
      /** Without the Q-Former (the paper's ablation): the decoder reads the encoder's patches themselves. */
      bypass: z.literal(true).optional(),
    }),
    /** `registers` and a class token stand before the patches; one query makes one patch. */
    decoder: z.strictObject({
      dim: size,
      depth: size,
      heads: size,
      patchSize: size,
      registers: block.default(4),
      mlpRatio: size.default(4),
    }),
    /** `vit.patchSize` is that of the stored weights. */
    perceptual: z.strictObject({ vit: vitSchema, train: comparisonSchema, score: comparisonSchema }),
  })
  .superRefine((config, context) => {
    const { imageSize, encoders, decoder, perceptual, qFormer } = config;
    const patchSizes = [
      ...encoders.map(({ vit }) => vit.patchSize),
      decoder.patchSize,
      ...perceptual.train.patchSizes,
      ...perceptual.score.patchSizes,
    ];
    for (const patchSize of patchSizes.filter((patchSize) => imageSize % patchSize !== 0)) {
      context.addIssue(`patches of ${patchSize} do not tile an image of ${imageSize}`);
    }
    if (qFormer.dim % qFormer.heads !== 0) context.addIssue('qFormer.heads must divide qFormer.dim');
    if (qFormer.bypass) {
      if (encoders.length !== 1 || encoders[0].hiddenStates.length !== 1) {
        context.addIssue('without a Q-Former there is one encoder, read at one block');
      }
      if (encoders[0].vit.patchSize !== decoder.patchSize) {
        context.addIssue("without a Q-Former the decoder's patches are those of the encoder");
      }
      if (qFormer.outputDim !== qFormer.dim) context.addIssue('without a Q-Former outputDim is dim');
    }
    if (decoder.dim % decoder.heads !== 0) context.addIssue('decoder.heads must divide decoder.dim');
    const { depth } = perceptual.vit;
    for (const index of [...perceptual.train.blocks, ...perceptual.score.blocks]) {
      if (index >= depth) context.addIssue(`perceptual block ${index} of ${depth} does not exist`);
    }
  });

export type VitConfig = z.infer<typeof vitSchema>;
export type ModelConfig = z.infer<typeof modelConfigSchema>;
export type Comparison = z.infer<typeof comparisonSchema>;
