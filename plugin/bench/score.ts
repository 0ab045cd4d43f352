import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { taskProfile } from '../../inference/bundle/profiles.ts';
import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import { modelConfig, tasks } from '../../inference/model/presets.ts';
import { matrixWork } from '../../inference/onnx/work.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import type { RuntimeSettings } from '../../inference/provider-choice.ts';
import { scoringGraph } from '../../inference/scoring-graph.ts';
import type { Precision } from '../../inference/precision.ts';
import { Session } from '../../inference/session.ts';
import { againstPeak, median, openPeak, type PeakShare } from './peak.ts';
import { randomWeights } from './random-weights.ts';
import { largestResidentMemory } from './resident-memory.ts';

/** Scoring at one batch size; medians of the runs. The peak is one for int8 in float32. */
export interface ScoreBench extends PeakShare {
  provider: ExecutionProvider;
  precision: Precision;
  batch: number;
  secondsPerSlice: number;
  /** Matrix products of one slice, by count. */
  gflop: number;
  /** How many times as fast as float32 with the same provider, in turn with it; not told in float32. */
  timesFloat32?: number;
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
    const weights = await randomWeights(folder, config);
    const open = async (precision: Precision) => {
      const graph = scoringGraph({ model: config, profile: taskProfile('brain-mri') }, [weights], {
        precision,
      });
      const prepack = options.prepack || precision === 'int8';
      const model = { graph: graph.toBytes(), weightsFolder: folder };
      return { graph, session: await Session.open({ ...model, prepack, provider, ...threads }) };
    };
    const { graph, session } = await open(precision);
    const float32 = precision === 'float32' ? undefined : (await open('float32')).session;
    const peak = await openPeak({ provider, precision, ...threads });
    const results: ScoreBench[] = [];
    for (const batch of options.batches) {
      const work = matrixWork(graph, batch) / 1e9;
      const times: number[] = [];
      const ratios: number[] = [];
      const peaks: number[] = [];
      for (let run = 0; run < options.runs; run++) {
        const before = await peak.gflops();
        const seconds = await timeScore(session, batch, config.imageSize);
        peaks.push((before + (await peak.gflops())) / 2);
        times.push(seconds);
        if (float32) ratios.push((await timeScore(float32, batch, config.imageSize)) / seconds);
      }
      results.push({
        provider,
        precision,
        batch,
        secondsPerSlice: median(times) / batch,
        gflop: work / batch,
        ...againstPeak(
          times.map((seconds) => work / seconds),
          peaks,
        ),
        ...(float32 && { timesFloat32: median(ratios) }),
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
