import type { VitConfig } from '../inference/model/config.ts';
import { sincosPositions } from '../inference/model/decoder.ts';
import { layerNorm } from '../inference/model/layer-norm.ts';
import { linear } from '../inference/model/linear.ts';
import { within } from '../inference/model/parameters.ts';
import { transformerBlock } from '../inference/model/transformer-block.ts';
import { vit } from '../inference/model/vit.ts';
import { Graph } from '../inference/onnx/graph.ts';
import { mean } from './loss.ts';
import { shuffled } from './philox.ts';
import { differentiated, trainableParameters } from './training-graph.ts';
import type { TrainingGraph } from './training-graph.ts';

/** Share of the patches that the encoder sees (He et al. 2022: 75 % are masked). */
const VISIBLE = 0.25;
const NORM_EPS = 1e-6;

export interface MaeTraining {
  readonly imageSize: number;
  /** Without registers; its positions fit the image. */
  readonly vit: VitConfig;
  readonly decoder: { readonly dim: number; readonly depth: number; readonly heads: number };
  readonly microBatch: number;
}

/** Patches in all, and those that the encoder sees. */
export function patchCounts({ imageSize, vit }: Pick<MaeTraining, 'imageSize' | 'vit'>) {
  const patches = (imageSize / vit.patchSize) ** 2;
  return { patches, visible: Math.round(VISIBLE * patches) };
}

/**
 * A masked autoencoder (He et al. 2022) with its backward pass. Data inputs: `x` (B, 3, S, S), normalised, and `keep`
 * (B, V, N), row v the one-hot index of the v-th visible patch. The loss is the mean squared error of the
 * masked patches. Parameters have the names of the published MAE, so that what is trained serves as a ViT.
 */
export function maeTrainingGraph({
  imageSize,
  vit: config,
  decoder,
  microBatch,
}: MaeTraining): TrainingGraph {
  const graph = new Graph();
  const { source, trained } = trainableParameters(graph, [], () => true);
  const { patches, visible } = patchCounts({ imageSize, vit: config });
  const x = graph.input('x', [microBatch, 3, imageSize, imageSize]);
  const keep = graph.input('keep', [microBatch, visible, patches]);

  const { tokens } = vit(graph, source, { ...config, depth: 0 }, x); // (B, 1 + N, D)
  const seen = graph.matMul(keep, graph.slice(tokens, 1, 1, patches + 1)); // (B, V, D)
  let hidden = graph.concat([graph.slice(tokens, 1, 0, 1), seen], 1);
  for (let i = 0; i < config.depth; i++) {
    hidden = transformerBlock(graph, within(source, `blocks.${i}.`), hidden, config);
  }
  const encoded = layerNorm(graph, within(source, 'norm.'), hidden, config.normEps); // (B, 1 + V, D)

  const latent = linear(graph, within(source, 'decoder_embed.'), encoded, decoder.dim);
  const placed = graph.matMul(graph.transpose(keep, [0, 2, 1]), graph.slice(latent, 1, 1, visible + 1)); // (B, N, d), zeros where masked
  const masked = graph.reshape(graph.sub(graph.scalar(1), graph.reduceSum(keep, [1])), [
    microBatch,
    patches,
    1,
  ]);
  const positions = graph.constant(
    [1, patches, decoder.dim],
    sincosPositions(decoder.dim, Math.sqrt(patches)),
  );
  const maskToken = source('mask_token', 1, 1, decoder.dim);
  let decoded = graph.add(graph.add(placed, graph.mul(masked, maskToken)), positions);
  for (let i = 0; i < decoder.depth; i++) {
    const block = { heads: decoder.heads, mlpRatio: 4, normEps: NORM_EPS };
    decoded = transformerBlock(graph, within(source, `decoder_blocks.${i}.`), decoded, block);
  }
  const normed = layerNorm(graph, within(source, 'decoder_norm.'), decoded, NORM_EPS);
  const p = config.patchSize;
  const prediction = linear(graph, within(source, 'decoder_pred.'), normed, 3 * p * p); // (B, N, p·p·3)

  const grid = imageSize / p;
  const tiles = graph.reshape(x, [microBatch, 3, grid, p, grid, p]);
  const target = graph.reshape(graph.transpose(tiles, [0, 2, 4, 3, 5, 1]), [microBatch, patches, 3 * p * p]);
  const error = graph.sub(prediction, target);
  const loss = graph.mul(
    mean(graph, graph.mul(graph.mul(error, error), masked)),
    graph.scalar(patches / (patches - visible)),
  );
  return differentiated(graph, loss, trained, { x: x.shape as number[], keep: keep.shape as number[] });
}

/** Random visible patches of a micro-batch: (B, V, N). */
export function keepMatrix(
  options: Omit<MaeTraining, 'decoder'>,
  random: () => number,
): Float32Array<ArrayBuffer> {
  const { patches, visible } = patchCounts(options);
  const keep = new Float32Array(options.microBatch * visible * patches);
  for (let image = 0; image < options.microBatch; image++) {
    const order = shuffled(patches, random);
    for (let row = 0; row < visible; row++) keep[(image * visible + row) * patches + order[row]] = 1;
  }
  return keep;
}
