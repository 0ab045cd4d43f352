import { InferenceSession, Tensor } from 'onnxruntime-node';
import { runtimeOptions } from '../inference/execution-provider.ts';
import type { RuntimeOptions } from '../inference/execution-provider.ts';
import { adamScalars } from './adam.ts';
import { copyGraph, nextName, stateName, updateGraph } from './device-graphs.ts';
import type { EngineMethods, Quantity, TrainingModel } from './engine.ts';
import { scalarTensors, shapeSize, toTensors, toValues } from './engine-tensors.ts';

const QUANTITIES = ['weight', 'mean', 'square', 'gradient'] as const;

/**
 * Parameters, moments and summed gradients stay on the device: outputs are fed back as inputs, and what they replace
 * is freed. `graph` of the model is that of `accumulationGraph`.
 */
export async function openWebgpuEngine(
  { graph, parameters, evaluation }: TrainingModel,
  runtime: RuntimeOptions,
): Promise<EngineMethods> {
  const open = (model: Uint8Array, deviceOutputs: readonly string[] = []) =>
    InferenceSession.create(model, runtimeOptions({ ...runtime, deviceOutputs }));
  const next = (...quantities: Quantity[]) =>
    parameters.flatMap(({ name }) => quantities.map((quantity) => nextName(stateName(quantity, name))));
  const accumulation = await open(graph, next('gradient'));
  const adam = await open(updateGraph(parameters), next('weight', 'mean', 'square'));
  const copy = await open(copyGraph(parameters));
  const scoring = evaluation && (await open(evaluation));

  const state = new Map<string, Tensor>();
  const replace = (name: string, tensor: Tensor) => {
    state.get(name)?.dispose();
    state.set(name, tensor);
  };
  const current = (...quantities: Quantity[]) =>
    Object.fromEntries(
      parameters.flatMap(({ name }) =>
        quantities.map((quantity) => [stateName(quantity, name), state.get(stateName(quantity, name))!]),
      ),
    );
  let summed = 0;

  return {
    load({ name, state: { shape, ...values } }) {
      for (const quantity of QUANTITIES) {
        const data = quantity === 'gradient' ? new Float32Array(shapeSize(shape)) : values[quantity];
        replace(stateName(quantity, name), new Tensor('float32', data, shape));
      }
      summed = 0;
    },

    async accumulate({ feeds }) {
      const keep = new Tensor('float32', Float32Array.of(summed === 0 ? 0 : 1), [1]);
      const inputs = { ...toTensors(feeds), ...current('weight', 'gradient'), keep };
      const { 'loss so far': loss, ...sums } = await accumulation.run(inputs);
      for (const { name } of parameters) {
        const sum = stateName('gradient', name);
        replace(sum, sums[nextName(sum)]);
      }
      summed += 1;
      return loss.data[0] as number;
    },

    async update({ rate, beta1, step }) {
      const scalars = scalarTensors(adamScalars(rate, beta1, step, 1 / summed));
      const { squares, ...results } = await adam.run({ ...current(...QUANTITIES), ...scalars });
      const norm = Math.sqrt(squares.data[0] as number) / summed;
      if (!Number.isFinite(norm)) {
        for (const tensor of Object.values(results)) tensor.dispose();
        // Zero times what is no number would be none again.
        for (const { name, shape } of parameters) {
          replace(
            stateName('gradient', name),
            new Tensor('float32', new Float32Array(shapeSize(shape)), shape),
          );
        }
        throw new Error('the gradient is not a finite number');
      }
      for (const [name] of state) {
        const result = results[nextName(name)] as Tensor | undefined;
        if (result) replace(name, result);
      }
      summed = 0;
      return norm;
    },

    async evaluate({ feeds }) {
      if (!scoring) throw new Error('the engine was opened without an evaluation graph');
      return toValues(await scoring.run({ ...toTensors(feeds), ...current('weight') }));
    },

    async read({ name, quantity }) {
      const tensors = parameters.map(({ name }) => [name, state.get(stateName(quantity, name))!] as const);
      const one = new Tensor('float32', Float32Array.of(1), [1]);
      const results = await copy.run({ ...Object.fromEntries(tensors), one }, [nextName(name)]);
      return results[nextName(name)].data as Float32Array;
    },
  };
}
