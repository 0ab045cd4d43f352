import type { ModelConfig } from '../inference/model/config.ts';
import { initialValues, parameterShapes } from '../inference/model/initial-values.ts';
import { freshState } from './engine.ts';
import type { ParameterState } from './engine.ts';
import { uniformStream } from './philox.ts';
import { headParameters, isTrained } from './training-graph.ts';

/** A head before training: random weights, decided by the seed. */
export function* randomState(
  model: ModelConfig,
  seed: number,
): Generator<[name: string, state: ParameterState]> {
  const shapes = parameterShapes(model);
  const trained = headParameters(model).filter(({ name }) => isTrained(name));
  for (const [i, { name, shape }] of trained.entries()) {
    yield [name, freshState(shape, initialValues(name, shapes, uniformStream(seed, 'initial', i)))];
  }
}
