import { Graph } from '../../inference/onnx/graph.ts';
import { matrixWork } from '../../inference/onnx/work.ts';
import { Session } from '../../inference/session.ts';

/** Sides of the matrices whose product is the machine's peak. */
const peakSide = 2048;

/** A session that multiplies two large matrices, as fast as onnxruntime can here. */
export async function openPeak(threads: { threads?: number }) {
  const graph = new Graph();
  const [a, b] = ['a', 'b'].map((name) => graph.input(name, [peakSide, peakSide]));
  graph.output('y', graph.reduceMax(graph.matMul(a, b), [0, 1]));
  const session = await Session.open({ graph: graph.toBytes(), ...threads });
  const work = matrixWork(graph, 1);
  return {
    async gflops(): Promise<number> {
      let best = 0;
      for (let run = 0; run < 3; run++) {
        const matrix = () => ({
          data: new Float32Array(peakSide * peakSide).fill(0.5),
          dims: [peakSide, peakSide],
        });
        const feeds = { a: matrix(), b: matrix() };
        const start = process.hrtime.bigint();
        await session.run(feeds);
        best = Math.max(best, work / Number(process.hrtime.bigint() - start));
      }
      return best;
    },
    close: () => session.close(),
  };
}
