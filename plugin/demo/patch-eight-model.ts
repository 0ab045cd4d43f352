import type { Comparison } from '../../inference/model/config.ts';
import type { PretrainingModel } from '../../training/pretrain.ts';

/** What two cores train in half an hour: 96 px, patches of 8, a ViT of four blocks. */
export const patchEightModel = (score: Comparison): PretrainingModel => ({
  vit: {
    dim: 96,
    depth: 4,
    heads: 3,
    patchSize: 8,
    positionGrid: 12,
    mlpRatio: 4,
    registers: 0,
    noEmbedClass: false,
    layerScale: false,
    normPre: false,
    patchBias: true,
    normEps: 1e-6,
  },
  decoder: { dim: 64, depth: 2, heads: 2 },
  qfae: {
    imageSize: 96,
    qFormer: { dim: 96, heads: 2, outputDim: 96 },
    decoder: { dim: 96, depth: 2, heads: 3, patchSize: 12, registers: 4, mlpRatio: 4 },
    train: { patchSizes: [16, 32], blocks: [1, 2] },
    score,
  },
});
