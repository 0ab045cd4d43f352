import { InferenceSession, Tensor } from 'onnxruntime-node';
import { runtimeOptions } from '../inference/execution-provider.ts';
import type { RuntimeOptions } from '../inference/execution-provider.ts';
import { ADAM_CHUNK, adamGraph, adamScalars } from './adam.ts';
import type { EngineMethods, Quantity, TrainingModel } from './engine.ts';
import { scalarTensors, shapeSize, toTensors, toValues } from './engine-tensors.ts';
import { gradientName } from './training-graph.ts';

/** A gradient graph, gradients of micro-batches summed, then Adam in place. */
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
    weight: new Float32Array(total),
    mean: new Float32Array(total),
    square: new Float32Array(total),
    // Of all micro-batches since the last update: the first one's are written there, the others' added.
    gradient: new Float32Array(total),
  };
  const { weight: weights, mean: means, square: squares, gradient: sums } = flats;
  const part = (name: string, flat: Float32Array) => flat.subarray(...offsets.get(name)!);
  const views = (flat: Float32Array, rename = (name: string) => name): Record<string, Tensor> =>
    Object.fromEntries(
      parameters.map(({ name, shape }) => [rename(name), new Tensor('float32', part(name, flat), shape)]),
    );

  const options = runtimeOptions(runtime);
  const gradient = await InferenceSession.create(graph, options);
  const adam = await InferenceSession.create(adamGraph(), options);
  const scoring = evaluation && (await InferenceSession.create(evaluation, options));
  const parameterTensors = views(weights);
  const loss = new Tensor('float32', new Float32Array(1), [1]);
  const first = { loss, ...views(sums, gradientName) };
  /** Gradients of a micro-batch that is not the first. */
  let further: { readonly flat: Float32Array; readonly fetches: Record<string, Tensor> } | undefined;
  let summed = 0;

  return {
    load({ name, state }) {
      part(name, weights).set(state.weight);
      part(name, means).set(state.mean);
      part(name, squares).set(state.square);
      summed = 0;
    },

    async accumulate({ feeds }) {
      const inputs = { ...toTensors(feeds), ...parameterTensors };
      if (summed === 0) await gradient.run(inputs, first);
      else {
        if (!further) {
          const flat = new Float32Array(total);
          further = { flat, fetches: { loss, ...views(flat, gradientName) } };
        }
        await gradient.run(inputs, further.fetches);
        addTo(sums, further.flat);
      }
      summed += 1;
      return loss.data[0];
    },

    async update({ rate, beta1, step }) {
      const norm = Math.sqrt(squareSum(sums)) / summed;
      if (!Number.isFinite(norm)) throw new Error('the gradient is not a finite number');
      const scalars = scalarTensors(adamScalars(rate, beta1, step, 1 / summed));
      for (let start = 0; start < total; start += ADAM_CHUNK) {
        const end = Math.min(start + ADAM_CHUNK, total);
        const chunk = (flat: Float32Array) => new Tensor('float32', flat.subarray(start, end), [end - start]);
        const [weight, mean, square] = [weights, means, squares].map(chunk);
        await adam.run(
          { weight, mean, square, gradient: chunk(sums), ...scalars },
          { newWeight: weight, newMean: mean, newSquare: square },
        );
      }
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

// Loops of their own: inside of an asynchronous function they take several times as long.

function addTo(sums: Float32Array, values: Float32Array): void {
  for (let i = 0; i < sums.length; i++) sums[i] += values[i];
}

/** In four parts, so that an addition need not wait for the one before. */
function squareSum(values: Float32Array): number {
  const parts = [0, 0, 0, 0];
  const whole = values.length - (values.length % 4);
  for (let i = 0; i < whole; i += 4) {
    parts[0] += values[i] * values[i];
    parts[1] += values[i + 1] * values[i + 1];
    parts[2] += values[i + 2] * values[i + 2];
    parts[3] += values[i + 3] * values[i + 3];
  }
  for (let i = whole; i < values.length; i++) parts[0] += values[i] * values[i];
  return parts[0] + parts[1] + parts[2] + parts[3];
}
