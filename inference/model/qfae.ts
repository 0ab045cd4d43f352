import type { Graph } from '../onnx/graph.ts';
import type { Tensor } from '../onnx/tensor.ts';
import type { Comparison, ModelConfig } from './config.ts';
import { decoder } from './decoder.ts';
import type { DecoderOutput } from './decoder.ts';
import { linear } from './linear.ts';
import { within } from './parameters.ts';
import type { ParameterSource } from './parameters.ts';
import { perceptualComparison } from './perceptual.ts';
import type { PerceptualOutput } from './perceptual.ts';
import { qFormer } from './q-former.ts';
import type { QFormerOutput } from './q-former.ts';
import { vit } from './vit.ts';
import type { VitOutput } from './vit.ts';

export interface QfaeOutput {
  readonly encoders: readonly VitOutput[];
  /** (B, M, D): the encoders' projected tokens. */
  readonly features: Tensor;
  readonly qFormer: QFormerOutput;
  readonly decoder: DecoderOutput;
  readonly perceptual: PerceptualOutput;
}

/**
 * The Q-Former autoencoder (Dalmonte et al.; arithmetic of the released code): x (B, 3, S, S), normalised, →
 * reconstruction and anomaly map. Emits every intermediate; what no output of the graph needs is left out when
 * the graph is written.
 */
export function qfae(
  graph: Graph,
  parameters: ParameterSource,
  config: ModelConfig,
  comparison: Comparison,
  x: Tensor,
): QfaeOutput {
  const encoders = encode(graph, parameters, config, x);
  const head = reconstruct(graph, parameters, config, encoders); // x̂ (B, 3, S, S)
  const perceptual = perceptualComparison(
    graph,
    within(parameters, 'perceptual.'),
    config.perceptual.vit,
    comparison,
    x,
    head.decoder.reconstruction,
  ); // (B, R, S, S)
  return { encoders, ...head, perceptual };
}

/** The frozen encoders: hidden states that heads share. */
export function encode(
  graph: Graph,
  parameters: ParameterSource,
  config: ModelConfig,
  x: Tensor,
): VitOutput[] {
  return config.encoders.map((encoder, i) =>
    vit(graph, within(parameters, `encoders.${i}.model.`), encoder.vit, x),
  );
}

/** One trained head: projection, Q-Former and decoder. */
export function reconstruct(
  graph: Graph,
  parameters: ParameterSource,
  config: ModelConfig,
  encoders: readonly VitOutput[],
): Pick<QfaeOutput, 'features' | 'qFormer' | 'decoder'> {
  const projected = encoders.map(({ blocks }, i) => {
    const hidden = config.encoders[i].hiddenStates.map((index) => blocks.at(index)!);
    const projection = within(parameters, `encoders.${i}.final_projection.`);
    return linear(graph, projection, join(graph, hidden), config.qFormer.dim);
  });
  const features = join(graph, projected); // (B, M, D)
  const queries = (config.imageSize / config.decoder.patchSize) ** 2;
  const latent = qFormer(graph, within(parameters, 'junction.'), config.qFormer, queries, features);
  return {
    features,
    qFormer: latent,
    decoder: decoder(graph, within(parameters, 'decoder.'), config.decoder, latent.output),
  };
}

/** On the token axis. */
function join(graph: Graph, tokens: readonly Tensor[]): Tensor {
  return tokens.length === 1 ? tokens[0] : graph.concat(tokens, 1);
}
