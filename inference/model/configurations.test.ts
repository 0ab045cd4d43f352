import { maxAbs, maxError } from '../../fixtures/golden.ts';
import {
  keptPixels,
  TORCH_FOLDER,
  torchCases,
  torchImages,
  torchWeights,
} from '../../fixtures/torch-reference.ts';
import { Graph } from '../onnx/graph.ts';
import { readFloats } from '../safetensors.ts';
import { Session } from '../session.ts';
import { weightFiles } from './parameters.ts';
import { qfae } from './qfae.ts';
import { imageReductionSchema, imageScore, mapReductionSchema, pixelMap } from './scores.ts';

test.each(torchCases)('%s agrees with PyTorch in every score and map', async (name, { model, scores }) => {
  const weights = await torchWeights(name);
  const graph = new Graph();
  const { imageSize: side } = model;
  const x = graph.input('x', ['B', 3, side, side]);
  const { decoder, perceptual } = qfae(
    graph,
    weightFiles(graph, [weights]),
    model,
    model.perceptual.score,
    x,
  );
  graph.output('reconstruction', decoder.reconstruction);
  for (const reduction of mapReductionSchema.options) {
    graph.output(`map ${reduction}`, pixelMap(graph, perceptual.map, reduction));
  }
  for (const reduction of imageReductionSchema.options) {
    graph.output(reduction, imageScore(graph, perceptual.map, reduction));
  }
  const session = await Session.open({ graph: graph.toBytes(), weightsFolder: TORCH_FOLDER });
  const results = await session.run({ x: torchImages(side) });
  await session.close();

  for (const kept of ['reconstruction', ...mapReductionSchema.options.map((name) => `map ${name}`)]) {
    const expected = await readFloats(weights.file, `reference ${kept}`);
    const error = maxError(keptPixels(results[kept].data, side), expected) / maxAbs(expected);
    expect({ [kept]: error < 1e-5 ? 'close' : error }).toEqual({ [kept]: 'close' });
  }
  for (const reduction of imageReductionSchema.options) {
    const error = maxError(results[reduction].data, scores[reduction]) / maxAbs(scores[reduction]);
    expect({ [reduction]: error < 1e-5 ? 'close' : error }).toEqual({ [reduction]: 'close' });
  }
});
