import { TORCH_FOLDER, torchCases, torchImages, torchWeights } from '../fixtures/torch-reference.ts';
import { readFloats } from '../inference/safetensors.ts';
import { Session } from '../inference/session.ts';
import type { TensorValue } from '../inference/session.ts';
import { lossNames } from './loss.ts';
import { gradientName, qfaeTrainingGraph } from './training-graph.ts';

/** Norm, and scalar product with cos(0), cos(1), …: as the reference has it. */
function digest(gradient: Float32Array): [number, number] {
  let [squares, product] = [0, 0];
  gradient.forEach((value, i) => {
    squares += value * value;
    product += value * Math.cos(i);
  });
  return [Math.sqrt(squares), product];
}

describe.each(torchCases)('%s', (name, { model, losses }) => {
  test.each(lossNames)('loss %s and its gradients agree with PyTorch', async (lossName) => {
    const weights = await torchWeights(name);
    const images = torchImages(model.imageSize);
    const training = qfaeTrainingGraph({
      model,
      frozen: [weights],
      microBatch: images.dims[0],
      loss: lossName,
    });
    const dropout = training.data['dropout'];
    const feeds: Record<string, TensorValue> = {
      x: images,
      dropout: { data: new Float32Array(dropout.reduce((a, b) => a * b)).fill(1), dims: dropout },
    };
    for (const { name, shape } of training.parameters) {
      feeds[name] = { data: await readFloats(weights.file, name), dims: shape };
    }
    const session = await Session.open({ graph: training.graph.toBytes(), weightsFolder: TORCH_FOLDER });
    const results = await session.run(feeds);
    await session.close();

    const expected = losses[lossName];
    expect(Math.abs(results['loss'].data[0] / expected.value - 1)).toBeLessThan(1e-5);
    expect(training.parameters.map(({ name }) => name).sort()).toEqual(
      Object.keys(expected.gradients).sort(),
    );
    const largest = Math.max(...Object.values(expected.gradients).map(([norm]) => norm));
    const apart = Object.entries(expected.gradients).filter(([parameter, [norm, product]]) => {
      const [actualNorm, actualProduct] = digest(results[gradientName(parameter)].data);
      const error = Math.max(Math.abs(actualNorm - norm), Math.abs(actualProduct - product));
      return !(error <= 1e-4 * norm + 1e-7 * largest);
    });
    expect(apart).toEqual([]);
  });
});
