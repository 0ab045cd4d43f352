/** Where published weights lie. */
export interface PublishedWeights {
  /** A file of a repository on the Hugging Face hub, or a URL. */
  readonly from: { readonly repository: string; readonly file: string } | { readonly url: string };
  /** SPDX identifier, or what the publisher states. */
  readonly licence: string;
}

const timm = (model: string) => ({ repository: `timm/${model}`, file: 'model.safetensors' });
const laion = (model: string) => ({ repository: `laion/${model}`, file: 'open_clip_pytorch_model.bin' });
const qfae = (task: string): PublishedWeights => ({
  from: { repository: 'ebayar/QFAE-checkpoints', file: `${task}/last_ckpt.pth` },
  licence: 'MIT; trained on data of BMAD (CC-BY-NC-SA-4.0)',
});

const META = 'https://dl.fbaipublicfiles.com';

/**
 * The encoders of the paper and its released checkpoints by the name that `qfae weights pull` takes. Places are
 * those that timm/models/vision_transformer.py and the README of francescodalmonte/QFAE state, and so are the
 * licences but for two: those of DINO and of LAION's CLIP are the ones of their repositories. Names that end in
 * `-meta` are the original files of the same weights.
 */
export const published = {
  'dinov2-vit-l14-reg': { from: timm('vit_large_patch14_reg4_dinov2.lvd142m'), licence: 'Apache-2.0' },
  'dinov2-vit-l14-reg-meta': {
    from: { url: `${META}/dinov2/dinov2_vitl14/dinov2_vitl14_reg4_pretrain.pth` },
    licence: 'Apache-2.0',
  },
  'dinov2-vit-l14': { from: timm('vit_large_patch14_dinov2.lvd142m'), licence: 'Apache-2.0' },
  'dinov2-vit-l14-meta': {
    from: { url: `${META}/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth` },
    licence: 'Apache-2.0',
  },
  'dino-vit-b8': { from: timm('vit_base_patch8_224.dino'), licence: 'Apache-2.0' },
  'dino-vit-b8-meta': {
    from: { url: `${META}/dino/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth` },
    licence: 'Apache-2.0',
  },
  'openclip-vit-l14': { from: laion('CLIP-ViT-L-14-laion2B-s32B-b82K'), licence: 'MIT' },
  'openclip-vit-b32': { from: laion('CLIP-ViT-B-32-laion2B-s34B-b79K'), licence: 'MIT' },
  'mae-vit-l16': { from: timm('vit_large_patch16_224.mae'), licence: 'CC-BY-NC-4.0' },
  'mae-vit-l16-meta': {
    from: { url: `${META}/mae/pretrain/mae_pretrain_vit_large.pth` },
    licence: 'CC-BY-NC-4.0',
  },
  'mae-vit-b16': { from: timm('vit_base_patch16_224.mae'), licence: 'CC-BY-NC-4.0' },
  'mae-vit-b16-meta': {
    from: { url: `${META}/mae/pretrain/mae_pretrain_vit_base.pth` },
    licence: 'CC-BY-NC-4.0',
  },
  'qfae-brain': qfae('brain'),
  'qfae-chest': qfae('chest'),
  'qfae-liver': qfae('liver'),
  'qfae-retina': qfae('retina'),
} as const satisfies Record<string, PublishedWeights>;
