import type { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { bilinearNearest, patchResampling, toMatrix, transpose } from '../resample.ts';
import type { Comparison, VitConfig } from './config.ts';
import type { ParameterSource } from './parameters.ts';
import { prefixTokens, vit } from './vit.ts';

/** As PyTorch's `cosine_similarity`. */
const MINIMUM_NORM = 1e-8;

export interface PerceptualScale {
  readonly patchSize: number;
  /** Hidden states of x and of x̂ for each compared block, (B, g², D). */
  readonly hiddenStates: readonly (readonly [Tensor, Tensor])[];
  /** Cosine distance of each compared block, (B, R, g, g). */
  readonly distances: Tensor;
  /** The same at the image's size, (B, R, S, S). */
  readonly upsampled: Tensor;
}

export interface PerceptualOutput {
  readonly scales: readonly PerceptualScale[];
  /** The product over the patch sizes, (B, R, S, S). */
  readonly map: Tensor;
}

/**
 * Compares x and x̂ (B, 3, S, S) in the hidden states of one frozen ViT at several patch sizes. The stored weights
 * serve all sizes: instead of PI-resizing the kernel, each patch is resampled to the kernel's size, which gives
 * the same embedding (see `patchResampling`), and positions are resampled in the graph. They go through the ViT
 * together, unless `apart`: then a gradient for x̂ need not pass through x.
 */
export function perceptualComparison(
  graph: Graph,
  parameters: ParameterSource,
  config: VitConfig,
  { patchSizes, blocks }: Comparison,
  x: Tensor,
  reconstruction: Tensor,
  { apart = false } = {},
): PerceptualOutput {
  const side = x.shape[3] as number;
  const inputs = apart ? [x, reconstruction] : [graph.concat([x, reconstruction], 0)]; // (2B, 3, S, S)
  const scales = patchSizes.map((patchSize) => {
    const grid = side / patchSize;
    const prefix = prefixTokens(config);
    const hidden = inputs.map(
      (image) =>
        vit(graph, parameters, config, resamplePatches(graph, image, patchSize, config.patchSize)).blocks,
    );
    const hiddenStates = blocks.map((index) => {
      const tokens = hidden.map((blocks) => graph.slice(blocks[index], 1, prefix, prefix + grid * grid));
      return (apart ? tokens : graph.split(tokens[0], 2, 0)) as [Tensor, Tensor]; // (B, g², D) each
    });
    const distances = graph.concat(
      hiddenStates.map(([a, b]) => graph.reshape(cosineDistance(graph, a, b), [x.shape[0], 1, grid, grid])),
      1,
    ); // (B, R, g, g)
    return { patchSize, hiddenStates, distances, upsampled: upsample(graph, distances, side) };
  });
  const map = scales.map(({ upsampled }) => upsampled).reduce((a, b) => graph.mul(a, b));
  return { scales, map };
}

/** 1 − cos of the angle between a and b over the last axis: (B, N, D) → (B, N). */
export function cosineDistance(graph: Graph, a: Tensor, b: Tensor): Tensor {
  const unit = (x: Tensor) => {
    const norm = graph.sqrt(graph.reduceSum(graph.mul(x, x), [-1], true));
    return graph.div(x, graph.max(norm, graph.scalar(MINIMUM_NORM)));
  };
  return graph.sub(graph.scalar(1), graph.reduceSum(graph.mul(unit(a), unit(b)), [-1]));
}

/** Bilinear, aligned at pixel centres' outer corners (align_corners false): (…, g, g) → (…, size, size). */
export function upsample(graph: Graph, map: Tensor, size: number): Tensor {
  const grid = map.shape.at(-1) as number;
  const matrix = toMatrix(bilinearNearest(grid, size), grid);
  const left = graph.constant([size, grid], matrix.values);
  const right = graph.constant([grid, size], transpose(matrix).values);
  return graph.matMul(graph.matMul(left, map), right);
}

/** Resamples every p × p patch of an image to base × base: (B, 3, g·p, g·p) → (B, 3, g·base, g·base). */
export function resamplePatches(graph: Graph, image: Tensor, p: number, base: number): Tensor {
  if (p === base) return image;
  const [batch, channels, side] = image.shape as [Tensor['shape'][number], number, number];
  const grid = side / p;
  const matrix = patchResampling(base, p); // (base, p)
  const left = graph.constant([base, p], matrix.values);
  const right = graph.constant([p, base], transpose(matrix).values);
  const columns = graph.matMul(graph.reshape(image, [batch, channels, side, grid, p]), right); // (B, 3, S, g, base)
  const rows = graph.matMul(left, graph.reshape(columns, [batch, channels, grid, p, grid * base]));
  return graph.reshape(rows, [batch, channels, grid * base, grid * base]); // from (B, 3, g, base, g·base)
}
