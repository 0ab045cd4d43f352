import type { Graph } from './graph.ts';
import { factors } from './tensor.ts';
import type { Shape } from './tensor.ts';

/** Floating-point operations of a graph's matrix products at a batch size; a multiply-add counts as two. */
export function matrixWork(graph: Graph, batch: number): number {
  const size = (shape: Shape) =>
    shape.map(factors).reduce((product, { size, power }) => product * size * batch ** power, 1);
  return graph
    .neededNodes()
    .map(({ opType, inputs: [a, b], outputs: [y], attributes }) => {
      if (opType === 'MatMul' || opType === 'DynamicQuantizeMatMul') {
        return 2 * size(y.shape) * size([a.shape.at(-1)!]);
      }
      if (opType === 'Gemm') return 2 * size(y.shape) * size([a.shape[attributes['transA'] === 1 ? 0 : 1]]);
      // Each output value is a product with one kernel: all of the weight but its output channels.
      if (opType === 'Conv') return (2 * size(y.shape) * size(b.shape)) / size([b.shape[0]]);
      return 0;
    })
    .reduce((sum, work) => sum + work, 0);
}
