import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ModelConfig } from '../../inference/model/config.ts';
import { parameterShapes } from '../../inference/model/initial-values.ts';
import type { MountedWeights } from '../../inference/model/parameters.ts';
import { modelConfig, tasks } from '../../inference/model/presets.ts';
import { Graph } from '../../inference/onnx/graph.ts';
import { matrixWork } from '../../inference/onnx/work.ts';
import { openSafetensors, streamSafetensors } from '../../inference/safetensors.ts';
import { scoringGraph } from '../../inference/scoring-graph.ts';
import { Session } from '../../inference/session.ts';

/** Scoring at one batch size. Times are the fastest of several runs. */
export interface ScoreBench {
  batch: number;
  secondsPerSlice: number;
  /** Matrix products of one slice, by count. */
  gflop: number;
  gflops: number;
  /** Of one large matrix product, measured between the runs. */
  peakGflops: number;
  shareOfPeak: number;
  /** Largest resident memory of the process so far. */
  rssBytes: number;
}

/** Sides of the matrices whose product is the machine's peak. */
const peakSide = 2048;

/** Times the full-size brain-mri model on random weights, and in turn with it the machine's matrix product. */
export async function benchScore(options: {
  batches: number[];
  runs: number;
  threads?: number;
  prepack: boolean;
}): Promise<ScoreBench[]> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  const threads = options.threads === undefined ? {} : { threads: options.threads };
  try {
    const config = modelConfig(tasks['brain-mri']);
    const graph = scoringGraph(
      {
        model: config,
        profile: {
          name: 'brain-mri',
          preprocessing: { mean: 0.449, std: 0.226 },
          maxSlices: null,
          sampling: 'even',
          reductions: { image: 'max|mean', map: 'mean', study: 'max' },
        },
      },
      [await randomWeights(folder, config)],
    );
    const peak = await openPeak(threads);
    const { prepack } = options;
    const session = await Session.open({
      graph: graph.toBytes(),
      weightsFolder: folder,
      prepack,
      ...threads,
    });
    const results: ScoreBench[] = [];
    for (const batch of options.batches) {
      let seconds = Infinity;
      let peakGflops = 0;
      for (let run = 0; run < options.runs; run++) {
        peakGflops = Math.max(peakGflops, await peak.gflops());
        seconds = Math.min(seconds, await timeScore(session, batch, config.imageSize));
        peakGflops = Math.max(peakGflops, await peak.gflops());
      }
      const work = matrixWork(graph, batch);
      results.push({
        batch,
        secondsPerSlice: seconds / batch,
        gflop: work / batch / 1e9,
        gflops: work / seconds / 1e9,
        peakGflops,
        shareOfPeak: work / seconds / 1e9 / peakGflops,
        rssBytes: await largestResidentMemory(),
      });
    }
    await session.close();
    await peak.close();
    return results;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function timeScore(session: Session, batch: number, side: number): Promise<number> {
  const dims = [batch, 3, side, side];
  const data = Float32Array.from({ length: batch * 3 * side * side }, (_, i) => Math.sin(i));
  const start = process.hrtime.bigint();
  await session.run({ x: { data, dims } });
  return Number(process.hrtime.bigint() - start) / 1e9;
}

/** All weights of the model in one file, small random numbers that repeat: the time does not depend on them. */
async function randomWeights(folder: string, config: ModelConfig): Promise<MountedWeights> {
  const shapes = parameterShapes(config);
  const location = 'random.safetensors';
  const tensors = new Map([...shapes].map(([name, shape]) => [name, { shape }]));
  const noise = Float32Array.from({ length: 65_521 }, () => 0.04 * (Math.random() - 0.5));
  await streamSafetensors(join(folder, location), tensors, ({ shape }) => {
    const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
    for (let at = 0; at < values.length; at += noise.length) {
      values.set(noise.subarray(0, Math.min(noise.length, values.length - at)), at);
    }
    return Promise.resolve(values);
  });
  return { prefix: '', file: await openSafetensors(join(folder, location)), location };
}

/** A session that multiplies two large matrices, as fast as onnxruntime can here. */
async function openPeak(threads: { threads?: number }) {
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

/** Of this process since its start (Linux). */
async function largestResidentMemory(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8');
  return 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]);
}
