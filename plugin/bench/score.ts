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
  /** Of one large matrix product, measured between the runs. */
  peakGflops: number;
  shareOfPeak: number;
  /** Largest resident memory of the process so far. */
  rssBytes: number;
}

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
      { precision },
    );
    const peak = await openPeak({ provider, precision, ...threads });
    const { prepack } = options;
    const session = await Session.open({
      graph: graph.toBytes(),
      weightsFolder: folder,
      prepack,
      provider,
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
        provider,
        precision,
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
