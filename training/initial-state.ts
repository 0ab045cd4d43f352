import type { ModelConfig } from '../inference/model/config.ts';
import { initialValues, parameterShapes } from '../inference/model/initial-values.ts';
import { freshState } from './engine.ts';
import type { EngineState } from './engine.ts';
import { uniformStream } from './philox.ts';
import { headParameters, isTrained } from './training-graph.ts';

/** A head before training: random weights, decided by the seed. */
export function randomState(model: ModelConfig, seed: number): EngineState {
  const shapes = parameterShapes(model);
  return freshState(
    headParameters(model)
      .filter(({ name }) => isTrained(name))
      .map(({ name, shape }, i) => [
        name,
        shape,
        initialValues(name, shapes, uniformStream(seed, 'initial', i)),
      ]),
  );
}
