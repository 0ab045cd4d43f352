/** Times one part of the training step in a process of its own, so that its memory is its own; see `train.ts`. */
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
import { openPeak } from './peak.ts';
import { largestResidentMemory } from './resident-memory.ts';
import { trainParts } from './train.ts';
import type { PartBench, PartOptions, TrainPart } from './train.ts';

const model = modelConfig(tasks['brain-mri']);
const { imageSize: side, perceptual } = model;

/** What each part computes, with its backward pass. */
const graphs: Record<TrainPart, (microBatch: number, frozen: readonly MountedWeights[]) => TrainingGraph> = {
  decoder(microBatch, frozen) {
    const graph = new Graph();
    const { source, trained } = trainableParameters(graph, frozen, isTrained);
    const latent = graph.input('latent', [microBatch, ...latentShape(model)]);
    const { reconstruction } = decoder(graph, within(source, 'decoder.'), model.decoder, latent);
    const loss = mean(graph, graph.mul(reconstruction, reconstruction));
    return differentiated(graph, loss, trained, { latent: latent.shape as number[] });
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
  full: (microBatch, frozen) => qfaeTrainingGraph({ model, frozen, microBatch, loss: 'perceptual' }),
};

async function bench(part: TrainPart, { folder, location, batch, steps, threads }: PartOptions) {
  const frozen = [{ prefix: '', file: await openSafetensors(join(folder, location)), location }];
  const training = graphs[part](batch, frozen);
  const own = threads === undefined ? {} : { threads };
  const engine = await Engine.open({ training, weightsFolder: folder, ...own });
  const shapes = parameterShapes(model);
  await engine.load(
    (function* () {
      for (const { name, shape } of training.parameters) {
        const random = Float32Array.from({ length: size(shape) }, Math.random);
        yield [name, freshState(shape, shapes.has(name) ? initialValues(name, shapes, Math.random) : random)];
      }
    })(),
  );
  const peak = await openPeak(own);
  let [seconds, peakGflops] = [Infinity, await peak.gflops()];
  for (let step = 1; step <= steps; step++) {
    const feeds = Object.entries(training.data).map(([name, dims]) => {
      const data = Float32Array.from({ length: size(dims) }, (_, i) => Math.sin(i));
      return [name, { data, dims }] as const;
    });
    const start = performance.now();
    await engine.accumulate(Object.fromEntries(feeds));
    await engine.update({ rate: 1e-5, beta1: 0.9, step });
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
    peakGflops = Math.max(peakGflops, await peak.gflops());
  }
  const gflop = training.work / 1e9;
  const gflops = gflop / seconds;
  const rssBytes = await largestResidentMemory();
  await engine.close();
  await peak.close();
  return { secondsPerStep: seconds, gflop, gflops, peakGflops, shareOfPeak: gflops / peakGflops, rssBytes };
}

function size(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

const [name, options] = process.argv.slice(2);
const part = trainParts.find((part) => part === name)!;
process.send!((await bench(part, JSON.parse(options) as PartOptions)) satisfies PartBench);
