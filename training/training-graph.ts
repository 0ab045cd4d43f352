import { decoder } from '../inference/model/decoder.ts';
import type { DecoderOutput } from '../inference/model/decoder.ts';
import type { ModelConfig } from '../inference/model/config.ts';
import { parameterShapes } from '../inference/model/initial-values.ts';
import { linear } from '../inference/model/linear.ts';
import { weightFiles, within } from '../inference/model/parameters.ts';
import type { MountedWeights, ParameterSource } from '../inference/model/parameters.ts';
import { perceptualComparison } from '../inference/model/perceptual.ts';
import { qFormer } from '../inference/model/q-former.ts';
import { encode } from '../inference/model/qfae.ts';
import { imageScore, pixelMap } from '../inference/model/scores.ts';
import type { ImageReduction, MapReduction } from '../inference/model/scores.ts';
import { Graph } from '../inference/onnx/graph.ts';
import type { Tensor } from '../inference/onnx/tensor.ts';
import { matrixWork } from '../inference/onnx/work.ts';
import { gradients } from './autodiff/gradients.ts';
import { trainingLoss } from './loss.ts';
import type { LossName } from './loss.ts';

/** A parameter that is trained, and its shape. */
export interface TrainedParameter {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * A graph that learns: parameters and data are inputs, `loss` and a gradient a parameter are outputs. An engine may
 * append to it: it serves one.
 */
export interface TrainingGraph {
  readonly graph: Graph;
  readonly parameters: readonly TrainedParameter[];
  /** Shapes of the data inputs by name. */
  readonly data: Readonly<Record<string, readonly number[]>>;
  /** Floating-point operations of the matrix products of one run; a multiply-add counts as two. */
  readonly work: number;
}

/** The name of the output that holds a parameter's gradient. */
export const gradientName = (parameter: string) => `gradient of ${parameter}`;

/** Whether a parameter of QFAE is trained: encoders, perceptual model and sine-cosine positions are frozen. */
export function isTrained(name: string): boolean {
  return !/^(encoders\.\d+\.model\.|perceptual\.)/.test(name) && !isPosition(name);
}

const isPosition = (name: string) => name === 'decoder.decoder_pos_embed';

/** The parameters of QFAE that a head holds, frozen positions included, with their shapes. */
export function headParameters(model: ModelConfig): TrainedParameter[] {
  return [...parameterShapes(model)]
    .filter(([name]) => isTrained(name) || isPosition(name))
    .map(([name, shape]) => ({ name, shape }));
}

export interface QfaeTraining {
  readonly model: ModelConfig;
  /** Frozen weights: encoders, perceptual model, decoder positions. */
  readonly frozen: readonly MountedWeights[];
  /** Images in one run of the graph. */
  readonly microBatch: number;
  readonly loss: LossName;
  /** Computes each decoder block again in the backward pass: less memory, more work. */
  readonly checkpointing?: boolean;
}

/**
 * QFAE with its backward pass. Data inputs: `x` (B, 3, S, S), normalised, and `dropout` (B, Q, outputDim), what
 * the Q-Former's output is multiplied with (0 or 1/(1 − p)). The loss is that of the training comparison.
 */
export function qfaeTrainingGraph({
  model,
  frozen,
  microBatch,
  loss,
  checkpointing = false,
}: QfaeTraining): TrainingGraph {
  const graph = new Graph();
  const { source, trained } = trainableParameters(graph, frozen, isTrained);
  const side = model.imageSize;
  const x = graph.input('x', [microBatch, 3, side, side]);
  const dropout = graph.input('dropout', [microBatch, ...latentShape(model)]);
  const { reconstruction, embedding, blocks } = forward(graph, source, model, x, dropout);
  const { map } = perceptualComparison(
    graph,
    within(source, 'perceptual.'),
    model.perceptual.vit,
    model.perceptual.train,
    x,
    reconstruction,
    { apart: true },
  );
  const objective = trainingLoss(graph, loss, map, x, reconstruction);
  const data = { x: x.shape as number[], dropout: dropout.shape as number[] };
  return differentiated(graph, objective, trained, data, checkpointing ? [embedding, ...blocks] : []);
}

/**
 * QFAE as it scores, with the trained parameters as inputs: from `x` (B, 3, S, S) to `loss` (1), `score` (B), `map`
 * (B, S, S) and `reconstruction` (B, 3, S, S).
 */
export function qfaeEvaluationGraph(
  { model, frozen, microBatch, loss }: QfaeTraining,
  reductions: { readonly image: ImageReduction; readonly map: MapReduction },
): Uint8Array {
  const graph = new Graph();
  const { source } = trainableParameters(graph, frozen, isTrained);
  const side = model.imageSize;
  const x = graph.input('x', [microBatch, 3, side, side]);
  const { reconstruction } = forward(graph, source, model, x);
  const compare = (comparison: ModelConfig['perceptual']['train']) =>
    perceptualComparison(
      graph,
      within(source, 'perceptual.'),
      model.perceptual.vit,
      comparison,
      x,
      reconstruction,
    ).map;
  const objective = trainingLoss(graph, loss, compare(model.perceptual.train), x, reconstruction);
  const map = compare(model.perceptual.score);
  graph.output('loss', graph.reshape(objective, [1]));
  graph.output('score', imageScore(graph, map, reductions.image));
  graph.output('map', pixelMap(graph, map, reductions.map));
  graph.output('reconstruction', reconstruction);
  return graph.toBytes();
}

/** (queries, channels) of the Q-Former's output. */
export function latentShape({ imageSize, decoder, qFormer }: ModelConfig): [number, number] {
  return [(imageSize / decoder.patchSize) ** 2, qFormer.outputDim];
}

/** Parameters of which some are inputs of the graph, collected in `trained`, the others frozen in files. */
export function trainableParameters(
  graph: Graph,
  frozen: readonly MountedWeights[],
  isTrained: (name: string) => boolean,
): { source: ParameterSource; trained: Map<string, Tensor> } {
  const files = weightFiles(graph, frozen);
  const trained = new Map<string, Tensor>();
  const source: ParameterSource = (name, ...shape) => {
    if (!isTrained(name)) return files(name, ...shape);
    const tensor = trained.get(name) ?? graph.input(name, shape);
    trained.set(name, tensor);
    return tensor;
  };
  return { source, trained };
}

/** Makes `loss` and its gradients the outputs of the graph; `checkpoints` as `gradients` has them. */
export function differentiated(
  graph: Graph,
  loss: Tensor,
  trained: ReadonlyMap<string, Tensor>,
  data: TrainingGraph['data'],
  checkpoints: readonly Tensor[] = [],
): TrainingGraph {
  const tensors = [...trained.values()];
  graph.output('loss', graph.reshape(loss, [1]));
  gradients(graph, loss, tensors, checkpoints).forEach((gradient, i) => {
    graph.output(gradientName(tensors[i].name), gradient);
  });
  const parameters = tensors.map(({ name, shape }) => ({ name, shape: shape as number[] }));
  return { graph, parameters, data, work: matrixWork(graph, 1) };
}

/** Encoders, projections, Q-Former, dropout, decoder: as inference's `qfae`, which has no dropout. */
function forward(
  graph: Graph,
  parameters: ParameterSource,
  model: ModelConfig,
  x: Tensor,
  dropout?: Tensor,
): DecoderOutput {
  const features = encode(graph, parameters, model, x).map(({ blocks }, i) => {
    const hidden = model.encoders[i].hiddenStates.map((index) => blocks.at(index)!);
    const projection = within(parameters, `encoders.${i}.final_projection.`);
    return linear(graph, projection, graph.concat(hidden, 1), model.qFormer.dim);
  });
  const [queries] = latentShape(model);
  const junction = within(parameters, 'junction.');
  const { output } = qFormer(graph, junction, model.qFormer, queries, graph.concat(features, 1)); // (B, Q, D)
  const latent = dropout ? graph.mul(output, dropout) : output;
  return decoder(graph, within(parameters, 'decoder.'), model.decoder, latent); // (B, 3, S, S)
}
