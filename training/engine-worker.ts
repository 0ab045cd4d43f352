/** Runs the sessions of a training engine and keeps its state; spoken to by `engine.ts`. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { parentPort, workerData } from 'node:worker_threads';
import { runtimeOptions } from '../inference/execution-provider.ts';
import { ADAM_CHUNK, adamGraph, adamScalars } from './adam.ts';
import type { EngineOptions, EngineReply, EngineCommand, EngineState, Feeds } from './engine.ts';
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
/** Of the last micro-batch, and their sum since the last update. */
const gradients = new Float32Array(total);
const sums = new Float32Array(total);
let summed = 0;

/** A tensor over each parameter's part of a flat array. */
function views(flat: Float32Array, rename = (name: string) => name): Record<string, Tensor> {
  let offset = 0;
  return Object.fromEntries(
    training.parameters.map(({ name, shape }) => {
      const start = offset;
      offset += size(shape);
      return [rename(name), new Tensor('float32', flat.subarray(start, offset), shape)];
    }),
  );
}

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
  const fetches = { loss, ...views(gradients, gradientName) };

  return {
    load({ tensors }: { tensors: EngineState }) {
      let offset = 0;
      for (const { name, shape } of training.parameters) {
        const state = tensors.get(name);
        if (state?.weight.length !== size(shape)) throw new Error(`the state does not hold ${name}`);
        weights.set(state.weight, offset);
        means.set(state.mean, offset);
        squares.set(state.square, offset);
        offset += size(shape);
      }
      sums.fill(0);
      summed = 0;
    },

    async accumulate({ feeds }: { feeds: Feeds }) {
      await gradient.run({ ...toTensors(feeds), ...parameters }, fetches);
      for (let i = 0; i < total; i++) sums[i] += gradients[i];
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
      sums.fill(0);
      summed = 0;
      return norm;
    },

    async evaluate({ feeds }: { feeds: Feeds }) {
      if (!scoring) throw new Error('the engine was opened without an evaluation graph');
      const results = await scoring.run({ ...toTensors(feeds), ...parameters });
      return Object.fromEntries(
        Object.entries(results).map(([name, { data, dims }]) => [name, { data: data as Float32Array, dims }]),
      );
    },

    gradients: () =>
      new Map(
        Object.entries(views(gradients)).map(([name, { data }]) => [name, (data as Float32Array).slice()]),
      ),

    state(): EngineState {
      let offset = 0;
      return new Map(
        training.parameters.map(({ name, shape }) => {
          const [start, end] = [offset, offset + size(shape)];
          offset = end;
          const [weight, mean, square] = [weights, means, squares].map((flat) => flat.slice(start, end));
          return [name, { shape, weight, mean, square }];
        }),
      );
    },
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
