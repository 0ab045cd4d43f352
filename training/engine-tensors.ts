import { Tensor } from 'onnxruntime-node';
import type { TensorValue } from '../inference/session.ts';
import type { AdamScalars } from './adam.ts';
import type { Feeds } from './engine.ts';

/** Values that came from another thread as onnxruntime's tensors. */
export function toTensors(feeds: Feeds): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, { data, dims }]) => [name, new Tensor('float32', data, dims)]),
  );
}

/** Results as they are sent to another thread. */
export function toValues(results: Readonly<Record<string, Tensor>>): Record<string, TensorValue> {
  return Object.fromEntries(
    Object.entries(results).map(([name, { data, dims }]) => [name, { data: data as Float32Array, dims }]),
  );
}

/** Adam's scalars, (1) each. */
export function scalarTensors(scalars: AdamScalars): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(scalars).map(([name, value]) => [
      name,
      new Tensor('float32', Float32Array.of(value as number), [1]),
    ]),
  );
}

/** Values in a tensor of this shape. */
export function shapeSize(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
