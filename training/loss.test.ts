import { randomStream } from '../fixtures/random.ts';
import { Graph } from '../inference/onnx/graph.ts';
import { Session } from '../inference/session.ts';
import { lossNames, trainingLoss } from './loss.ts';

test('perceptual distance, mean absolute error, and both', async () => {
  const random = randomStream(1, 'loss');
  const draw = (length: number) => Float32Array.from({ length }, () => random() - 0.5);
  const [map, image, reconstruction] = [draw(2 * 2 * 16), draw(2 * 3 * 16), draw(2 * 3 * 16)];
  const graph = new Graph();
  const inputs = [
    graph.constant([2, 2, 4, 4], map),
    graph.constant([2, 3, 4, 4], image),
    graph.constant([2, 3, 4, 4], reconstruction),
  ] as const;
  for (const name of lossNames) graph.output(name, trainingLoss(graph, name, ...inputs));
  const session = await Session.open({ graph: graph.toBytes() });
  const result = await session.run({});
  await session.close();

  const perceptual = map.reduce((sum, value) => sum + value, 0) / map.length;
  const mae =
    image.reduce((sum, value, i) => sum + Math.abs(value - reconstruction[i]), 0) / reconstruction.length;
  const expected = { perceptual, mae, both: perceptual + mae };
  for (const name of lossNames) expect(result[name].data[0]).toBeCloseTo(expected[name], 6);
});
