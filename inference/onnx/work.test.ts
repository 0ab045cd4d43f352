import { Graph } from './graph.ts';
import { matrixWork } from './work.ts';

test('counts matrix products that outputs depend on, each multiply-add twice', () => {
  const graph = new Graph();
  const x = graph.input('x', ['B', 5, 7]);
  const w = graph.input('w', [7, 11]);
  graph.output('y', graph.matMul(x, w));
  graph.matMul(w, graph.transpose(w, [1, 0]));
  expect(matrixWork(graph, 3)).toBe(2 * 3 * 5 * 7 * 11);
});
