import { InferenceSession, Tensor } from 'onnxruntime-node';
import { runtimeOptions } from '../inference/execution-provider.ts';
import type { RuntimeOptions } from '../inference/execution-provider.ts';
import { adamScalars } from './adam.ts';
import { nextName, stateName } from './device-graphs.ts';
import type { EngineMethods, Quantity, ScanStep, StepResult, TrainingModel } from './engine.ts';
import { scalarTensors, shapeSize, toTensors, toValues } from './engine-tensors.ts';

const QUANTITIES = ['weight', 'mean', 'square', 'gradient'] as const;

/**
 * Several optimiser steps in one run, through which the state stays on the device; between runs it lies in memory:
 * onnxruntime for Node cannot keep outputs on CUDA devices. `graph` of the model is that of `scanGraph`.
 */
export async function openScanEngine(
  { graph, parameters, evaluation }: TrainingModel,
  runtime: RuntimeOptions,
): Promise<EngineMethods> {
  const options = runtimeOptions(runtime);
  const scan = await InferenceSession.create(graph, options);
  const scoring = evaluation && (await InferenceSession.create(evaluation, options));
  const state = new Map<string, Tensor>();
  const get = (quantity: Quantity, name: string) => state.get(stateName(quantity, name))!;

  return {
    load({ name, state: { shape, ...values } }) {
      for (const quantity of QUANTITIES) {
        const data = quantity === 'gradient' ? new Float32Array(shapeSize(shape)) : values[quantity];
        state.set(stateName(quantity, name), new Tensor('float32', data, shape));
      }
    },

    async scan({ steps }: { steps: readonly ScanStep[] }): Promise<StepResult[]> {
      const runs = steps.flatMap(({ batch, rate, beta1, step }) =>
        batch.map((feeds, i) => ({
          ...toTensors(feeds),
          ...scalarTensors(adamScalars(rate, beta1, step, 1 / batch.length)),
          last: new Tensor('float32', Float32Array.of(i === batch.length - 1 ? 1 : 0), [1]),
        })),
      );
      const scanned = Object.keys(runs[0]).map((name) => [
        `scan ${name}`,
        stack(runs.map((run: Record<string, Tensor>) => run[name])),
      ]);
      const carried = [...state].map(([name, tensor]) => [`scan ${name}`, tensor]);
      const results = await scan.run(Object.fromEntries([...carried, ...scanned]) as Record<string, Tensor>);
      const losses = results['scan loss so far'].data as Float32Array;
      const squares = results['scan squares'].data as Float32Array;
      let run = 0;
      const found = steps.map(({ batch }) => {
        const loss = batch.reduce((sum, _, i) => sum + losses[run + i] / batch.length, 0);
        run += batch.length;
        return { loss, gradientNorm: Math.sqrt(squares[run - 1]) / batch.length };
      });
      if (!found.every(({ gradientNorm }) => Number.isFinite(gradientNorm))) {
        throw new Error('the gradient is not a finite number');
      }
      for (const [name] of state) state.set(name, results[`scan ${nextName(name)}`]);
      return found;
    },

    async evaluate({ feeds }) {
      if (!scoring) throw new Error('the engine was opened without an evaluation graph');
      const weights = parameters.map(({ name }) => [name, get('weight', name)] as const);
      return toValues(await scoring.run({ ...toTensors(feeds), ...Object.fromEntries(weights) }));
    },

    read: ({ name, quantity }) => (get(quantity, name).data as Float32Array).slice(),
  };
}

/** Tensors of one shape along a new first axis. */
function stack(tensors: readonly Tensor[]): Tensor {
  const [{ dims, size }] = tensors;
  const data = new Float32Array(tensors.length * size);
  tensors.forEach((tensor, i) => {
    data.set(tensor.data as Float32Array, i * size);
  });
  return new Tensor('float32', data, [tensors.length, ...dims]);
}
