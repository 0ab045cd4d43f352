import type { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';
import type { ModelConfig } from './config.ts';
import { layerNorm } from './layer-norm.ts';
import { linear } from './linear.ts';
import { within } from './parameters.ts';
import type { ParameterSource } from './parameters.ts';
import { transformerBlock } from './transformer-block.ts';

const NORM_EPS = 1e-5;

const CHANNELS = 3;

export interface DecoderOutput {
  /** (B, g², D), before positions are added. */
  readonly embedding: Tensor;
  /** The output of each block, (B, prefix + g², D). */
  readonly blocks: readonly Tensor[];
  readonly normed: Tensor;
  /** (B, prefix + g², p·p·3) */
  readonly prediction: Tensor;
  /** x̂ (B, 3, S, S), in normalised intensities. */
  readonly reconstruction: Tensor;
}

/** The MAE-like decoder: one token a patch, (B, g², outputDim) → (B, 3, S, S). */
export function decoder(
  graph: Graph,
  parameters: ParameterSource,
  { dim, depth, heads, patchSize, registers, mlpRatio }: ModelConfig['decoder'],
  latent: Tensor,
): DecoderOutput {
  const patches = latent.shape[1] as number;
  const prefix = registers + 1;
  const embedding = linear(graph, within(parameters, 'decoder_embed.'), latent, dim); // (B, g², D)

  // Registers, then the class token, without a position; patches with one.
  const constant = graph.concat(
    [
      ...(registers > 0 ? [parameters('reg_tokens', 1, registers, dim)] : []),
      parameters('cls_token', 1, 1, dim),
      parameters('decoder_pos_embed', 1, patches, dim),
    ],
    1,
  );
  let x = graph.add(graph.pad(embedding, 1, prefix, 0), constant); // (B, prefix + g², D)
  const blocks = Array.from({ length: depth }, (_, i) => {
    const block = within(parameters, `decoder_blocks.${i}.`);
    x = transformerBlock(graph, block, x, { heads, mlpRatio, normEps: NORM_EPS });
    return x;
  });
  const normed = layerNorm(graph, within(parameters, 'decoder_norm.'), x, NORM_EPS);
  const values = patchSize * patchSize * CHANNELS;
  const prediction = linear(graph, within(parameters, 'decoder_prediction.'), normed, values);
  const patchValues = graph.slice(prediction, 1, prefix, prefix + patches); // (B, g², p·p·3)
  return { embedding, blocks, normed, prediction, reconstruction: unpatchify(graph, patchValues, patchSize) };
}

/** (B, g·g, p·p·3), pixels before channels, → (B, 3, g·p, g·p). */
export function unpatchify(graph: Graph, patches: Tensor, p: number): Tensor {
  const [batch, count] = patches.shape;
  const grid = Math.sqrt(count as number);
  const split = graph.reshape(patches, [batch, grid, grid, p, p, CHANNELS]);
  const planes = graph.transpose(split, [0, 5, 1, 3, 2, 4]); // (B, 3, g, p, g, p)
  return graph.reshape(planes, [batch, CHANNELS, grid * p, grid * p]);
}

/**
 * Fixed sine-cosine position embedding of a square grid: (grid², dim), row-major, the column's half first
 * (MAE's `get_2d_sincos_pos_embed`, in float64). `dim` is a multiple of 4.
 */
export function sincosPositions(dim: number, grid: number): Float32Array<ArrayBuffer> {
  const quarter = dim / 4;
  return Float32Array.from({ length: grid * grid * dim }, (_, i) => {
    const [token, channel] = [Math.floor(i / dim), i % dim];
    const position = channel < 2 * quarter ? token % grid : Math.floor(token / grid);
    const angle = position / 10000 ** ((channel % quarter) / quarter);
    return Math.floor(channel / quarter) % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
}
