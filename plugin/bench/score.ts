import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modelConfig, tasks } from '../../inference/model/presets.ts';
import { matrixWork } from '../../inference/onnx/work.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import type { RuntimeSettings } from '../../inference/provider-choice.ts';
import { scoringGraph } from '../../inference/scoring-graph.ts';
import type { Precision } from '../../inference/scoring-graph.ts';
import { Session } from '../../inference/session.ts';
import { openPeak } from './peak.ts';
import { randomWeights } from './random-weights.ts';
import { largestResidentMemory } from './resident-memory.ts';

/** Scoring at one batch size. Times are the fastest of several runs. */
export interface ScoreBench {
  provider: ExecutionProvider;
  precision: Precision;
  batch: number;
  secondsPerSlice: number;
  /** Matrix products of one slice, by count. */
  gflop: number;
  gflops: number;
  /** Of one large matrix product (for int8 in float32), measured between the runs. */
  peakGflops: number;
  shareOfPeak: number;
  /** How many times as fast as float32 with the same provider, in turn with it; not told in float32. */
  timesFloat32?: number;
  /** Largest resident memory of the process so far. */
  rssBytes: number;
}

const profile = {
  name: 'brain-mri',
  preprocessing: { mean: 0.449, std: 0.226 },
  maxSlices: null,
  sampling: 'even' as const,
  reductions: { image: 'max|mean' as const, map: 'mean' as const, study: 'max' as const },
};

/** Times the full-size brain-mri model on random weights, and in turn with it the machine's matrix product. */
export async function benchScore(options: {
  batches: number[];
  runs: number;
  threads?: number;
  prepack: boolean;
  runtime: RuntimeSettings;
}): Promise<ScoreBench[]> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  const threads = options.threads === undefined ? {} : { threads: options.threads };
  const { provider, precision } = await chooseRuntime(options.runtime);
  try {
    const config = modelConfig(tasks['brain-mri']);
    const weights = await randomWeights(folder, config);
    const open = async (precision: Precision) => {
      const graph = scoringGraph({ model: config, profile }, [weights], { precision });
      const prepack = options.prepack || precision === 'int8';
      const model = { graph: graph.toBytes(), weightsFolder: folder };
      return { graph, session: await Session.open({ ...model, prepack, provider, ...threads }) };
    };
    const { graph, session } = await open(precision);
    const float32 = precision === 'float32' ? undefined : (await open('float32')).session;
    const peak = await openPeak({ provider, precision, ...threads });
    const results: ScoreBench[] = [];
    for (const batch of options.batches) {
      let seconds = Infinity;
      let float32Seconds = Infinity;
      let peakGflops = 0;
      for (let run = 0; run < options.runs; run++) {
        peakGflops = Math.max(peakGflops, await peak.gflops());
        seconds = Math.min(seconds, await timeScore(session, batch, config.imageSize));
        if (float32) {
          float32Seconds = Math.min(float32Seconds, await timeScore(float32, batch, config.imageSize));
        }
        peakGflops = Math.max(peakGflops, await peak.gflops());
      }
      const work = matrixWork(graph, batch);
      results.push({
        provider,
        precision,
        batch,
        secondsPerSlice: seconds / batch,
        gflop: work / batch / 1e9,
        gflops: work / seconds / 1e9,
        peakGflops,
        shareOfPeak: work / seconds / 1e9 / peakGflops,
        ...(float32 && { timesFloat32: float32Seconds / seconds }),
        rssBytes: await largestResidentMemory(),
      });
    }
    await session.close();
    await float32?.close();
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
