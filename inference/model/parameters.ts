import type { Graph } from '../onnx/graph.ts';
import { describe } from '../onnx/tensor.ts';
import type { Tensor } from '../onnx/tensor.ts';
import type { Safetensors } from '../safetensors.ts';

/**
 * Gives the model its parameters by name and shape, so that the definition does not know where they come from:
 * initializers in weight files when scoring, inputs of the graph when training.
 */
export type ParameterSource = (name: string, ...shape: number[]) => Tensor;

/** The parameters whose names begin with `prefix`, named without it. */
export function within(parameters: ParameterSource, prefix: string): ParameterSource {
  return (name, ...shape) => parameters(prefix + name, ...shape);
}

/** A weight file that holds the parameters whose names begin with `prefix`, stored without it. */
export interface MountedWeights {
  readonly prefix: string;
  readonly file: Safetensors;
  /** As the session finds it, relative to its folder of weights. */
  readonly location: string;
}

/**
 * Parameters as initializers that reference weight files. The first mount with a fitting prefix that holds the
 * tensor supplies it. Throws if none does, or if the stored shape or type is another.
 */
export function weightFiles(graph: Graph, mounts: readonly MountedWeights[]): ParameterSource {
  const found = new Map<string, Tensor>();
  return (name, ...shape) => {
    const existing = found.get(name);
    if (existing) return existing;
    for (const { prefix, file, location } of mounts) {
      const entry = name.startsWith(prefix) ? file.tensors.get(name.slice(prefix.length)) : undefined;
      if (!entry) continue;
      if (describe(entry.shape) !== describe(shape)) {
        throw new Error(
          `weight ${name} in ${location} has shape ${describe(entry.shape)}, the model needs ${describe(shape)}`,
        );
      }
      const { dtype, offset, length } = entry;
      if (dtype !== 'F32' && dtype !== 'F16') {
        throw new Error(`weight ${name} in ${location} is ${dtype}, expected F32 or F16`);
      }
      const type = dtype === 'F32' ? 'float32' : 'float16';
      const stored = graph.external(name, type, shape, { location, offset, length });
      const tensor = dtype === 'F32' ? stored : graph.cast(stored, 'float32');
      found.set(name, tensor);
      return tensor;
    }
    const searched = mounts.map(({ location }) => location).join(', ');
    throw new Error(`no weight file holds ${name} (searched ${searched})`);
  };
}
