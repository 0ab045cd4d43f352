import { resizePatchKernels, resizePositionGrid } from '../resample.ts';
import type { LazyTensor, StateDictionary } from './tensor.ts';

/** What the shapes of a Vision Transformer's parameters say; the number of heads is not among it. */
export interface VitShape {
  readonly dim: number;
  readonly depth: number;
  readonly patchSize: number;
  /** Side of the position embedding's grid. */
  readonly positionGrid: number;
  readonly mlpRatio: number;
  readonly registers: number;
  /** The position embedding covers the patches only. */
  readonly noEmbedClass: boolean;
  readonly layerScale: boolean;
  /** LayerNorm before the first block. */
  readonly normPre: boolean;
  readonly patchBias: boolean;
}

/**
 * Reads the architecture from the shapes of an encoder under timm's names, and checks that it is whole: every
 * parameter of every block is there with the shape that follows from the others, and nothing else. Throws naming
 * the parameter that is missing, of another shape, or unknown.
 */
export function vitShape(state: StateDictionary): VitShape {
  const shapeOf = (name: string) => {
    const tensor = state.get(name);
    if (!tensor) throw new Error(`${name} is missing`);
    return tensor.shape;
  };
  const [dim, , patchSize] = shapeOf('patch_embed.proj.weight');
  const registers = state.get('reg_token')?.shape[1] ?? 0;
  const [, tokens] = shapeOf('pos_embed');
  const noEmbedClass = registers > 0;
  const positionGrid = Math.sqrt(noEmbedClass ? tokens : tokens - 1);
  if (!Number.isInteger(positionGrid) || positionGrid < 1) {
    throw new Error(`pos_embed has ${tokens} positions, which are no square grid`);
  }
  const blocks = [...state.keys()].map((name) => Number(/^blocks\.(\d+)\./.exec(name)?.[1] ?? -1));
  const [hidden] = shapeOf('blocks.0.mlp.fc1.weight');
  const shape: VitShape = {
    dim,
    depth: blocks.reduce((depth, index) => Math.max(depth, index + 1), 0),
    patchSize,
    positionGrid,
    mlpRatio: hidden / dim,
    registers,
    noEmbedClass,
    layerScale: state.has('blocks.0.ls1.gamma'),
    normPre: state.has('norm_pre.weight'),
    patchBias: state.has('patch_embed.proj.bias'),
  };

  const expected = parameterShapes(shape, tokens, state.has('norm.weight'));
  for (const [name, sizes] of expected) {
    if (shapeOf(name).join() !== sizes.join()) {
      throw new Error(`${name} has shape (${shapeOf(name).join(', ')}), expected (${sizes.join(', ')})`);
    }
  }
  for (const name of state.keys()) {
    if (!expected.has(name)) throw new Error(`${name} is no parameter of a Vision Transformer that is known`);
  }
  return shape;
}

function parameterShapes(shape: VitShape, tokens: number, norm: boolean): Map<string, readonly number[]> {
  const { dim, depth, patchSize, mlpRatio, registers, layerScale, normPre, patchBias } = shape;
  const shapes = new Map<string, readonly number[]>([
    ['cls_token', [1, 1, dim]],
    ['pos_embed', [1, tokens, dim]],
    ['patch_embed.proj.weight', [dim, 3, patchSize, patchSize]],
  ]);
  const layerNorm = (name: string) => shapes.set(`${name}.weight`, [dim]).set(`${name}.bias`, [dim]);
  const linear = (name: string, rows: number, columns: number) =>
    shapes.set(`${name}.weight`, [rows, columns]).set(`${name}.bias`, [rows]);
  if (registers > 0) shapes.set('reg_token', [1, registers, dim]);
  if (patchBias) shapes.set('patch_embed.proj.bias', [dim]);
  if (normPre) layerNorm('norm_pre');
  if (norm) layerNorm('norm');
  for (let i = 0; i < depth; i++) {
    const block = `blocks.${i}`;
    layerNorm(`${block}.norm1`);
    layerNorm(`${block}.norm2`);
    linear(`${block}.attn.qkv`, 3 * dim, dim);
    linear(`${block}.attn.proj`, dim, dim);
    linear(`${block}.mlp.fc1`, mlpRatio * dim, dim);
    linear(`${block}.mlp.fc2`, dim, mlpRatio * dim);
    if (layerScale) shapes.set(`${block}.ls1.gamma`, [dim]).set(`${block}.ls2.gamma`, [dim]);
  }
  return shapes;
}

/** Sizes that an encoder is to be resampled to, in pixels; what is left out stays. */
export interface TargetSize {
  readonly imageSize?: number | undefined;
  readonly patchSize?: number | undefined;
}

/**
 * Resamples patch kernels (PI-resize) and positions (bicubic, antialiased; the class token's is kept) as timm's
 * `checkpoint_filter_fn` does. The model resamples both while it runs as well, so this is needed only where
 * another program reads the file. Throws if patches do not tile the image.
 */
export function resampleVit(state: StateDictionary, target: TargetSize): Map<string, LazyTensor> {
  const { dim, patchSize: from, positionGrid, noEmbedClass } = vitShape(state);
  const { patchSize = from, imageSize } = target;
  const grid = imageSize === undefined ? positionGrid : imageSize / patchSize;
  if (!Number.isInteger(grid) || grid < 1) {
    throw new Error(`patches of ${patchSize} do not tile an image of ${imageSize ?? 0}`);
  }
  const result = new Map(state);
  if (patchSize !== from) {
    const kernels = state.get('patch_embed.proj.weight')!;
    result.set('patch_embed.proj.weight', {
      shape: [dim, 3, patchSize, patchSize],
      dtype: 'F32',
      read: async () => resizePatchKernels(await kernels.read(), dim * 3, from, patchSize),
    });
  }
  if (grid !== positionGrid) {
    const positions = state.get('pos_embed')!;
    const prefix = noEmbedClass ? 0 : 1;
    result.set('pos_embed', {
      shape: [1, prefix + grid ** 2, dim],
      dtype: 'F32',
      async read() {
        const values = await positions.read();
        const resampled = new Float32Array((prefix + grid ** 2) * dim);
        resampled.set(values.subarray(0, prefix * dim));
        const patches = values.subarray(prefix * dim);
        resampled.set(resizePositionGrid(patches, dim, positionGrid, grid), prefix * dim);
        return resampled;
      },
    });
  }
  return result;
}
