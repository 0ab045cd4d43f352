import { availableParallelism } from 'node:os';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { runtimeOptions } from '../inference/execution-provider.ts';
import type { RuntimeOptions } from '../inference/execution-provider.ts';
import { adamScalars } from './adam.ts';
import type { EngineMethods, Quantity, TrainingModel } from './engine.ts';
import { shapeSize, toTensors, toValues } from './engine-tensors.ts';
import { ElementwiseThreads } from './elementwise-threads.ts';
import { gradientName } from './training-graph.ts';

/**
 * A gradient graph, gradients of micro-batches summed, then Adam in place: as a loop, which reads and writes everything
 * once, where a graph would go over all parameters for each of its operations.
 */
export async function openCpuEngine(
  { graph, parameters, evaluation }: TrainingModel,
  runtime: RuntimeOptions,
): Promise<EngineMethods> {
  // Every parameter is a view of one flat array, so that the optimiser walks over all of them at once.
  const offsets = new Map<string, readonly [start: number, end: number]>();
  let total = 0;
  for (const { name, shape } of parameters) {
    offsets.set(name, [total, total + shapeSize(shape)]);
    total += shapeSize(shape);
  }
  const flats: Record<Quantity, Float32Array> = {
    weight: sharedFloats(total),
    mean: sharedFloats(total),
    square: sharedFloats(total),
    // Of all micro-batches since the last update: the first one's are written there, the others' added.
    gradient: sharedFloats(total),
  };
  const { weight, mean, square, gradient: sum } = flats;
  const threads = new ElementwiseThreads(runtime.threads ?? availableParallelism());
  const part = (name: string, flat: Float32Array) => flat.subarray(...offsets.get(name)!);
  const views = (flat: Float32Array, rename = (name: string) => name): Record<string, Tensor> =>
    Object.fromEntries(
      parameters.map(({ name, shape }) => [rename(name), new Tensor('float32', part(name, flat), shape)]),
    );

  const options = runtimeOptions(runtime);
  const gradient = await InferenceSession.create(graph, options);
  const scoring = evaluation && (await InferenceSession.create(evaluation, options));
  const parameterTensors = views(weight);
  const loss = new Tensor('float32', new Float32Array(1), [1]);
  const first = { loss, ...views(sum, gradientName) };
  /** Gradients of a micro-batch that is not the first. */
  let further: { readonly flat: Float32Array; readonly fetches: Record<string, Tensor> } | undefined;
  let summed = 0;

  return {
    load({ name, state }) {
      part(name, weight).set(state.weight);
      part(name, mean).set(state.mean);
      part(name, square).set(state.square);
      summed = 0;
    },

    async accumulate({ feeds }) {
      const inputs = { ...toTensors(feeds), ...parameterTensors };
      if (summed === 0) await gradient.run(inputs, first);
      else {
        if (!further) {
          const flat = sharedFloats(total);
          further = { flat, fetches: { loss, ...views(flat, gradientName) } };
        }
        await gradient.run(inputs, further.fetches);
        await threads.run({ name: 'add', arrays: { sum, value: further.flat } });
      }
      summed += 1;
      return loss.data[0];
    },

    async update({ rate, beta1, step }) {
      const norm = Math.sqrt(await threads.run({ name: 'square sum', arrays: { value: sum } })) / summed;
      if (!Number.isFinite(norm)) throw new Error('the gradient is not a finite number');
      const scalars = adamScalars(rate, beta1, step, 1 / summed);
      await threads.run({ name: 'adam', arrays: { weight, mean, square, gradient: sum }, scalars });
      summed = 0;
      return norm;
    },

    async evaluate({ feeds }) {
      if (!scoring) throw new Error('the engine was opened without an evaluation graph');
      // It is run rarely: what it allocated is given back.
      const shrink = { extra: { memory: { enable_memory_arena_shrinkage: 'cpu:0' } } };
      return toValues(await scoring.run({ ...toTensors(feeds), ...parameterTensors }, shrink));
    },

    read: ({ name, quantity }) => part(name, flats[quantity]).slice(),
  };
}

function sharedFloats(length: number): Float32Array {
  return new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));
}
