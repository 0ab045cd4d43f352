import type { Comparison, ModelConfig, VitConfig } from './config.ts';
import type { ImageReduction, MapReduction } from './scores.ts';

/** Sizes of "Large" and "Base" (Dosovitskiy et al. 2021, table 1). */
const large = { dim: 1024, depth: 24, heads: 16 };
const base = { dim: 768, depth: 12, heads: 12 };

const plain = {
  mlpRatio: 4,
  registers: 0,
  noEmbedClass: false,
  layerScale: false,
  normPre: false,
  patchBias: true,
  normEps: 1e-6,
};
const openClip = { ...plain, normPre: true, patchBias: false, normEps: 1e-5 };

/** The paper's frozen encoders, with positions as their publishers store them. */
export const encoders = {
  'dinov2-vit-l14-reg': {
    ...plain,
    ...large,
    patchSize: 14,
    positionGrid: 37,
    registers: 4,
    noEmbedClass: true,
    layerScale: true,
  },
  'dinov2-vit-b14': { ...plain, ...base, patchSize: 14, positionGrid: 37, layerScale: true },
  'dino-vit-b8': { ...plain, ...base, patchSize: 8, positionGrid: 28 },
  'openclip-vit-l14': { ...openClip, ...large, patchSize: 14, positionGrid: 16 },
  'openclip-vit-b32': { ...openClip, ...base, patchSize: 32, positionGrid: 7 },
  'mae-vit-l16': { ...plain, ...large, patchSize: 16, positionGrid: 14 },
  'mae-vit-b16': { ...plain, ...base, patchSize: 16, positionGrid: 14 },
} as const satisfies Record<string, VitConfig>;

export type EncoderName = keyof typeof encoders;

/** A task of the paper: what is compared, and how a map becomes a score. Blocks are counted from 0. */
export interface TaskPreset {
  readonly encoders: readonly EncoderName[];
  readonly train: Comparison;
  readonly score: Comparison;
  readonly image: ImageReduction;
  readonly map: MapReduction;
}

const brain: TaskPreset = {
  encoders: ['dinov2-vit-l14-reg'],
  train: { patchSizes: [32, 56], blocks: [15, 19] },
  score: { patchSizes: [16, 32, 56], blocks: [11, 15, 19] },
  image: 'max|mean',
  map: 'mean',
};

export const tasks = {
  'brain-mri': brain,
  'brain-mri-pair': { ...brain, encoders: ['dinov2-vit-l14-reg', 'dino-vit-b8'] },
  'retinal-oct': brain,
  'chest-xray': { ...brain, image: 'mean|max' },
  'liver-ct': { ...brain, score: { ...brain.score, patchSizes: [8, 16] } },
} as const satisfies Record<string, TaskPreset>;

/** The paper's model for a task; `decoderPatchSize` 8, 16 or 32. */
export function modelConfig(
  { encoders: names, train, score }: TaskPreset,
  decoderPatchSize: 8 | 16 | 32 = 8,
): ModelConfig {
  return {
    imageSize: 224,
    encoders: names.map((name) => ({ vit: encoders[name], hiddenStates: [-2, -4] })),
    qFormer: { dim: 768, heads: 8, outputDim: 768 },
    decoder: { dim: 768, depth: 6, heads: 12, patchSize: decoderPatchSize, registers: 4, mlpRatio: 4 },
    perceptual: { vit: encoders['mae-vit-l16'], train, score },
  };
}
