/** Runs the sessions of a training engine and keeps its state; spoken to by `engine.ts`. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { parentPort, workerData } from 'node:worker_threads';
import { runtimeOptions } from '../inference/execution-provider.ts';
import { ADAM_CHUNK, adamGraph, adamScalars } from './adam.ts';
import type { EngineOptions, EngineReply, EngineCommand, Feeds, ParameterState, Quantity } from './engine.ts';
import { gradientName } from './training-graph.ts';

const { training, evaluation, ...runtime } = workerData as EngineOptions;
const port = parentPort!;

const options = runtimeOptions(runtime);

const size = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

// Every parameter is a view of one flat array, so that the optimiser walks over all of them at once.
const total = training.parameters.reduce((sum, { shape }) => sum + size(shape), 0);
const weights = new Float32Array(total);
const means = new Float32Array(total);
const squares = new Float32Array(total);
/** Of all micro-batches since the last update: the first one's gradients are written there, the others' added. */
const sums = new Float32Array(total);
const flats: Record<Quantity, Float32Array> = {
  weight: weights,
  mean: means,
  square: squares,
  gradient: sums,
};

const offsets = new Map<string, readonly [start: number, end: number]>();
for (const { name, shape } of training.parameters) {
  const start = [...offsets.values()].at(-1)?.[1] ?? 0;
  offsets.set(name, [start, start + size(shape)]);
}

/** A parameter's part of a flat array. */
const part = (name: string, flat: Float32Array) => flat.subarray(...offsets.get(name)!);

/** A tensor over each parameter's part of a flat array. */
const views = (flat: Float32Array, rename = (name: string) => name): Record<string, Tensor> =>
  Object.fromEntries(
    training.parameters.map(({ name, shape }) => [
      rename(name),
      new Tensor('float32', part(name, flat), shape),
    ]),
  );

const toTensors = (feeds: Feeds) =>
  Object.fromEntries(
    Object.entries(feeds).map(([name, { data, dims }]) => [name, new Tensor('float32', data, dims)]),
  );

async function open() {
  const gradient = await InferenceSession.create(training.graph, options);
  const adam = await InferenceSession.create(adamGraph(), options);
  const scoring = evaluation && (await InferenceSession.create(evaluation, options));
  const parameters = views(weights);
  const loss = new Tensor('float32', new Float32Array(1), [1]);
  const first = { loss, ...views(sums, gradientName) };
  /** Gradients of a micro-batch that is not the first. */
  let further: { readonly flat: Float32Array; readonly fetches: Record<string, Tensor> } | undefined;
  let summed = 0;

  return {
    load({ name, state }: { name: string; state: ParameterState }) {
      part(name, weights).set(state.weight);
      part(name, means).set(state.mean);
      part(name, squares).set(state.square);
      summed = 0;
    },

    async accumulate({ feeds }: { feeds: Feeds }) {
      const inputs = { ...toTensors(feeds), ...parameters };
      if (summed === 0) await gradient.run(inputs, first);
      else {
        if (!further) {
          const flat = new Float32Array(total);
          further = { flat, fetches: { loss, ...views(flat, gradientName) } };
        }
        await gradient.run(inputs, further.fetches);
        for (let i = 0; i < total; i++) sums[i] += further.flat[i];
      }
      summed += 1;
      return loss.data[0];
    },

    async update({ rate, beta1, step }: { rate: number; beta1: number; step: number }) {
      let squareSum = 0;
      for (let i = 0; i < total; i++) squareSum += sums[i] * sums[i];
      const norm = Math.sqrt(squareSum) / summed;
      if (!Number.isFinite(norm)) throw new Error('the gradient is not a finite number');
      const scalars = Object.fromEntries(
        Object.entries(adamScalars(rate, beta1, step, 1 / summed)).map(([name, value]) => [
          name,
          new Tensor('float32', Float32Array.of(value), [1]),
        ]),
      );
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

    async evaluate({ feeds }: { feeds: Feeds }) {
      if (!scoring) throw new Error('the engine was opened without an evaluation graph');
      const inputs = { ...toTensors(feeds), ...parameters };
      // It is run rarely: what it allocated is given back.
      const results = await scoring.run(inputs, {
        extra: { memory: { enable_memory_arena_shrinkage: 'cpu:0' } },
      });
      return Object.fromEntries(
        Object.entries(results).map(([name, { data, dims }]) => [name, { data: data as Float32Array, dims }]),
      );
    },

    read: ({ name, quantity }: { name: string; quantity: Quantity }) => part(name, flats[quantity]).slice(),
  };
}

export type EngineMethods = Awaited<ReturnType<typeof open>>;

const reply = (message: EngineReply) => {
  port.postMessage(message);
};

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

try {
  const methods = await open();
  // One at a time: an update must see all gradients that were asked for before it.
  let last: Promise<void> = Promise.resolve();
  port.on('message', (command: EngineCommand) => {
    last = last.then(async () => {
      if (command === 'close') {
        port.close();
        return;
      }
      const { id, method, argument } = command;
      try {
        reply({ id, result: await methods[method](argument as never) });
      } catch (error) {
        reply({ id, error: reason(error) });
      }
    });
  });
  reply({ id: 0, result: undefined });
} catch (error) {
  reply({ id: 0, error: reason(error) });
}
