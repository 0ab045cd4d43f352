/** Times one part of the training step in a process of its own, so that its memory is its own; see `train.ts`. */
import { once } from 'node:events';
import { join } from 'node:path';
import { decoder } from '../../inference/model/decoder.ts';
import { initialValues, parameterShapes } from '../../inference/model/initial-values.ts';
import { within } from '../../inference/model/parameters.ts';
import type { MountedWeights } from '../../inference/model/parameters.ts';
import { perceptualComparison } from '../../inference/model/perceptual.ts';
import { modelConfig, tasks } from '../../inference/model/presets.ts';
import { Graph } from '../../inference/onnx/graph.ts';
import { openSafetensors } from '../../inference/safetensors.ts';
import { Engine, freshState } from '../../training/engine.ts';
import { mean } from '../../training/loss.ts';
import {
  differentiated,
  isTrained,
  latentShape,
  qfaeTrainingGraph,
  trainableParameters,
} from '../../training/training-graph.ts';
import type { TrainingGraph } from '../../training/training-graph.ts';
import { largestResidentMemory } from './resident-memory.ts';
import { trainParts } from './train.ts';
import type { PartOptions, StepBench, TrainPart } from './train.ts';

const model = modelConfig(tasks['brain-mri']);
const { imageSize: side, perceptual } = model;

/** What each part computes, with its backward pass. */
const graphs: Record<
  TrainPart,
  (microBatch: number, frozen: readonly MountedWeights[], checkpointing: boolean) => TrainingGraph
> = {
  decoder(microBatch, frozen, checkpointing) {
    const graph = new Graph();
    const { source, trained } = trainableParameters(graph, frozen, isTrained);
    const latent = graph.input('latent', [microBatch, ...latentShape(model)]);
    const { embedding, blocks, reconstruction } = decoder(
      graph,
      within(source, 'decoder.'),
      model.decoder,
      latent,
    );
    const loss = mean(graph, graph.mul(reconstruction, reconstruction));
    const data = { latent: latent.shape as number[] };
    return differentiated(graph, loss, trained, data, checkpointing ? [embedding, ...blocks] : []);
  },
  perceptual(microBatch, frozen) {
    const graph = new Graph();
    // What the decoder is told: the gradient for the reconstruction.
    const { source, trained } = trainableParameters(graph, frozen, (name) => name === 'reconstruction');
    const x = graph.input('x', [microBatch, 3, side, side]);
    const reconstruction = source('reconstruction', microBatch, 3, side, side);
    const weights = within(source, 'perceptual.');
    const { map } = perceptualComparison(
      graph,
      weights,
      perceptual.vit,
      perceptual.train,
      x,
      reconstruction,
      { apart: true },
    );
    return differentiated(graph, mean(graph, map), trained, { x: x.shape as number[] });
  },
  full: (microBatch, frozen, checkpointing) =>
    qfaeTrainingGraph({ model, frozen, microBatch, loss: 'perceptual', checkpointing }),
};

async function bench(
  part: TrainPart,
  { folder, location, batch, steps, threads, checkpointing }: PartOptions,
): Promise<StepBench> {
  const frozen = [{ prefix: '', file: await openSafetensors(join(folder, location)), location }];
  const training = graphs[part](batch, frozen, checkpointing);
  const engine = await Engine.open({
    training,
    weightsFolder: folder,
    ...(threads !== undefined && { threads }),
  });
  const shapes = parameterShapes(model);
  await engine.load(
    (function* () {
      for (const { name, shape } of training.parameters) {
        const random = () => Float32Array.from({ length: size(shape) }, Math.random);
        const weight = shapes.has(name) ? initialValues(name, shapes, Math.random) : random();
        yield [name, freshState(shape, weight)];
      }
    })(),
  );
  const seconds: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const feeds = Object.entries(training.data).map(([name, dims]) => {
      const data = Float32Array.from({ length: size(dims) }, (_, i) => Math.sin(i));
      return [name, { data, dims }] as const;
    });
    // The peak is measured in turn with the steps, by the other process.
    process.send!('ready');
    await once(process, 'message');
    const start = performance.now();
    await engine.accumulate(Object.fromEntries(feeds));
    await engine.update({ rate: 1e-5, beta1: 0.9, step });
    seconds.push((performance.now() - start) / 1000);
  }
  const rssBytes = await largestResidentMemory();
  await engine.close();
  return { seconds, gflop: training.work / 1e9, rssBytes };
}

function size(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

const [name, options] = process.argv.slice(2);
const part = trainParts.find((part) => part === name)!;
process.send!(await bench(part, JSON.parse(options) as PartOptions));
process.disconnect();
