import { join } from 'node:path';
import type { ModelConfig } from '../../inference/model/config.ts';
import { parameterShapes } from '../../inference/model/initial-values.ts';
import type { MountedWeights } from '../../inference/model/parameters.ts';
import { openSafetensors, streamSafetensors } from '../../inference/safetensors.ts';

/**
 * All weights of the model in one file, small random numbers that repeat: the time does not depend on them. No two
 * tensors are the same: onnxruntime keeps one packed copy of those that are.
 */
export async function randomWeights(folder: string, config: ModelConfig): Promise<MountedWeights> {
  const shapes = parameterShapes(config);
  const location = 'random.safetensors';
  const tensors = new Map([...shapes].map(([name, shape]) => [name, { shape }]));
  const noise = Float32Array.from({ length: 65_521 }, () => 0.04 * (Math.random() - 0.5));
  let start = 0;
  await streamSafetensors(join(folder, location), tensors, ({ shape }) => {
    const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
    for (let at = -(start++ % noise.length); at < values.length; at += noise.length) {
      values.set(noise.subarray(Math.max(0, -at), values.length - at), Math.max(0, at));
    }
    return Promise.resolve(values);
  });
  return { prefix: '', file: await openSafetensors(join(folder, location)), location };
}
