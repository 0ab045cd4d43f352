import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import { Graph } from '../../inference/onnx/graph.ts';
import { HalfPrecisionGraph } from '../../inference/onnx/half-precision-graph.ts';
import { matrixWork } from '../../inference/onnx/work.ts';
import type { Precision } from '../../inference/precision.ts';
import { Session } from '../../inference/session.ts';

/** Sides of the matrices whose product is the machine's peak. */
const peakSide = 2048;

/** Products in one run on a GPU, so that the way of the matrices to it does not count. */
const gpuProducts = 64;

export interface PeakOptions {
  readonly threads?: number;
  /** Default: `cpu`. */
  readonly provider?: ExecutionProvider;
  /** Default: `float32`. */
  readonly precision?: Precision;
}

/** A session that multiplies large matrices, as fast as onnxruntime can here. */
export async function openPeak({ precision, ...options }: PeakOptions) {
  const graph = precision === 'float16' ? new HalfPrecisionGraph() : new Graph();
  const [a, b] = ['a', 'b'].map((name) => graph.input(name, [peakSide, peakSide]));
  let y = a;
  const products = (options.provider ?? 'cpu') === 'cpu' ? 1 : gpuProducts;
  for (let i = 0; i < products; i++) y = graph.matMul(y, b);
  graph.output('y', graph.reduceMax(y, [0, 1]));
  const session = await Session.open({ graph: graph.toBytes(), ...options });
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

/** Medians over the runs of something that is timed. */
export interface PeakShare {
  gflops: number;
  /** Of one large matrix product: the mean of what it reaches before and after a run. */
  peakGflops: number;
  /** Of the peak about the same run: how fast the machine is changes from one to the next. */
  shareOfPeak: number;
}

/** The rates of runs, in GFLOPS, against the peak about each. */
export function againstPeak(rates: readonly number[], peaks: readonly number[]): PeakShare {
  return {
    gflops: median(rates),
    peakGflops: median(peaks),
    shareOfPeak: median(rates.map((rate, run) => rate / peaks[run])),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.floor(middle - 0.5)] + sorted[Math.floor(middle)]) / 2;
}
