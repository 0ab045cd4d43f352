import { z } from 'zod';
import type { Graph } from '../onnx/graph.ts';
import { product } from '../onnx/tensor.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { upsample } from './perceptual.ts';

/**
 * How a map (B, R, S, S), R compared blocks, becomes one number an image: `pixels|blocks` reduces pixels first,
 * `pixelwise_blocks_pixels` the blocks first; `downsample_8x8` averages 8 × 8 pixels, takes the maximum over
 * blocks, and averages what is enlarged again. The names are those of the released code.
 */
export const imageReductionSchema = z.enum([
  'mean|mean',
  'mean|max',
  'max|mean',
  'max|max',
  'pixelwise_mean_max',
  'pixelwise_max_mean',
  'downsample_8x8',
]);

/** How a map (B, R, S, S) becomes one value a pixel. */
export const mapReductionSchema = z.enum(['mean', 'max', 'downsample_8x8']);

export type ImageReduction = z.infer<typeof imageReductionSchema>;
export type MapReduction = z.infer<typeof mapReductionSchema>;

const POOL = 8;

/** The image score: (B, R, S, S) → (B). */
export function imageScore(graph: Graph, map: Tensor, reduction: ImageReduction): Tensor {
  switch (reduction) {
    case 'pixelwise_mean_max':
      return graph.reduceMax(pixelMap(graph, map, 'mean'), [1, 2]);
    case 'pixelwise_max_mean':
      return graph.reduceMean(pixelMap(graph, map, 'max'), [1, 2]);
    case 'downsample_8x8':
      return graph.reduceMean(pixelMap(graph, map, 'downsample_8x8'), [1, 2]);
    default: {
      const [pixels, blocks] = reduction.split('|') as ('mean' | 'max')[];
      return reduce(graph, reduce(graph, map, pixels, [2, 3]), blocks, [1]);
    }
  }
}

/** The pixel map: (B, R, S, S) → (B, S, S). */
export function pixelMap(graph: Graph, map: Tensor, reduction: MapReduction): Tensor {
  if (reduction !== 'downsample_8x8') return reduce(graph, map, reduction, [1]);
  const [batch, blocks, side] = map.shape;
  const grid = (side as number) / POOL;
  const tiles = graph.reshape(map, [product([batch, blocks]), grid, POOL, grid, POOL]);
  const pooled = graph.reshape(graph.reduceMean(tiles, [2, 4]), [batch, blocks, grid, grid]);
  return upsample(graph, graph.reduceMax(pooled, [1]), side as number);
}

function reduce(graph: Graph, x: Tensor, by: 'mean' | 'max', axes: readonly number[]): Tensor {
  return by === 'mean' ? graph.reduceMean(x, axes) : graph.reduceMax(x, axes);
}
