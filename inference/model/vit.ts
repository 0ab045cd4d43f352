import type { Graph } from '../onnx/graph.ts';
import { product } from '../onnx/tensor.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { bicubicAntialiased, toMatrix } from '../resample.ts';
import type { VitConfig } from './config.ts';
import { layerNorm } from './layer-norm.ts';
import { within } from './parameters.ts';
import type { ParameterSource } from './parameters.ts';
import { transformerBlock } from './transformer-block.ts';

export interface VitOutput {
  /** (B, g², D), before positions are added. */
  readonly patchEmbedding: Tensor;
  /** (B, N, D): class token, registers, patches. */
  readonly tokens: Tensor;
  /** The raw output of each block, (B, N, D). */
  readonly blocks: readonly Tensor[];
}

/** Tokens before the patches. */
export function prefixTokens(config: VitConfig): number {
  return 1 + config.registers;
}

/** timm's VisionTransformer without final norm: image (B, 3, S, S) → block outputs. */
export function vit(graph: Graph, parameters: ParameterSource, config: VitConfig, image: Tensor): VitOutput {
  const patchEmbedding = embedPatches(graph, within(parameters, 'patch_embed.proj.'), config, image); // (B, g², D)
  const patches = patchEmbedding.shape[1] as number;

  // Zeros in front of the patches, then one addition of a constant: class token, registers and positions
  // enter without a copy for each image.
  const constant = prefixAndPositions(graph, parameters, config, Math.sqrt(patches)); // (1, N, D)
  let x = graph.add(graph.pad(patchEmbedding, 1, prefixTokens(config), 0), constant); // (B, N, D)
  if (config.normPre) x = layerNorm(graph, within(parameters, 'norm_pre.'), x, config.normEps);
  const tokens = x;

  const blocks = Array.from({ length: config.depth }, (_, i) => {
    x = transformerBlock(graph, within(parameters, `blocks.${i}.`), x, config);
    return x;
  });
  return { patchEmbedding, tokens, blocks };
}

/** Convolution whose stride is its kernel, as a matrix product: (B, 3, S, S) → (B, g², D). */
function embedPatches(graph: Graph, parameters: ParameterSource, config: VitConfig, image: Tensor): Tensor {
  const { dim, patchSize: p } = config;
  const [batch, channels, side] = image.shape;
  const grid = (side as number) / p;
  const values = (channels as number) * p * p;
  const split = graph.reshape(image, [batch, channels, grid, p, grid, p]);
  const patches = graph.transpose(split, [0, 2, 4, 1, 3, 5]); // (B, g, g, 3, p, p)
  const rows = graph.reshape(patches, [product([batch, grid, grid]), values]);
  const weight = graph.reshape(parameters('weight', dim, channels as number, p, p), [dim, values]);
  const bias = config.patchBias ? parameters('bias', dim) : undefined;
  return graph.reshape(graph.gemm(rows, weight, bias, { transB: true }), [batch, grid * grid, dim]);
}

/** What is added to the tokens of every image: (1, N, D). */
function prefixAndPositions(
  graph: Graph,
  parameters: ParameterSource,
  config: VitConfig,
  grid: number,
): Tensor {
  const { dim, positionGrid, registers, noEmbedClass } = config;
  const stored = positionGrid ** 2;
  const positions = parameters('pos_embed', 1, noEmbedClass ? stored : stored + 1, dim);
  const patchPositions = noEmbedClass ? positions : graph.slice(positions, 1, 1, stored + 1);
  const classToken = parameters('cls_token', 1, 1, dim);
  return graph.concat(
    [
      noEmbedClass ? classToken : graph.add(classToken, graph.slice(positions, 1, 0, 1)),
      ...(registers > 0 ? [parameters('reg_token', 1, registers, dim)] : []),
      resampleGrid(graph, patchPositions, positionGrid, grid),
    ],
    1,
  );
}

/** Bicubic antialiased resampling of positions, as timm's `resample_abs_pos_embed`: (1, from², D) → (1, to², D). */
function resampleGrid(graph: Graph, positions: Tensor, from: number, to: number): Tensor {
  if (from === to) return positions;
  const dim = positions.shape[2] as number;
  const matrix = graph.constant([to, from], toMatrix(bicubicAntialiased(from, to), from).values);
  const rows = graph.matMul(matrix, graph.reshape(positions, [from, from * dim])); // (to, from·D)
  const grid = graph.matMul(matrix, graph.reshape(rows, [to, from, dim])); // (to, to, D)
  return graph.reshape(grid, [1, to * to, dim]);
}
