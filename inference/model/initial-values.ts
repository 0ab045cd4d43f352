import { Graph } from '../onnx/graph.ts';
import type { ModelConfig } from './config.ts';
import { sincosPositions } from './decoder.ts';
import type { ParameterSource } from './parameters.ts';
import { qfae } from './qfae.ts';

/** Every parameter of the model with its shape, in the order in which data meets it. */
export function parameterShapes(config: ModelConfig): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const graph = new Graph();
  const record: ParameterSource = (name, ...shape) => {
    shapes.set(name, shape);
    return { name, type: 'float32', shape };
  };
  const x = graph.input('x', ['B', 3, config.imageSize, config.imageSize]);
  qfae(graph, record, config, config.perceptual.score, x);
  return shapes;
}

/** A source of numbers drawn uniformly from [0, 1). */
export type Random = () => number;

/**
 * What a parameter is before training, as PyTorch and the released code have it: Linear U(±1/√fan_in), LayerNorm
 * 1 and 0, tokens and queries N(0, 1e-3), null key and value N(0, 1), the decoder's positions sine-cosine.
 * `shapes` holds the parameter's siblings: a bias is drawn like its weight.
 */
export function initialValues(
  name: string,
  shapes: ReadonlyMap<string, readonly number[]>,
  random: Random,
): Float32Array<ArrayBuffer> {
  const shape = shapes.get(name);
  if (!shape) throw new Error(`the model has no parameter ${name}`);
  const length = shape.reduce((product, size) => product * size, 1);
  const draw = (value: () => number) => Float32Array.from({ length }, value);
  const normal = (deviation: number) =>
    draw(() => deviation * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));

  if (name.endsWith('decoder_pos_embed')) return sincosPositions(shape[2], Math.sqrt(shape[1]));
  if (name.endsWith('null_kv')) return normal(1);
  if (name.endsWith('.gamma')) return draw(() => 1);
  if (!name.endsWith('.weight') && !name.endsWith('.bias')) return normal(1e-3);

  const weight = shapes.get(name.replace(/bias$/, 'weight'))!;
  if (weight.length === 1) return draw(() => (name.endsWith('.weight') ? 1 : 0));
  const bound = 1 / Math.sqrt(weight.slice(1).reduce((product, size) => product * size, 1));
  return draw(() => bound * (2 * random() - 1));
}
