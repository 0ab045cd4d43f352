import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importBundle } from '../../inference/bundle/bundle-archive.ts';
import { threshold } from '../../inference/calibration.ts';
import { calibrationOf } from '../../inference/bundle/schema.ts';
import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import { Scorer } from '../../inference/scorer.ts';
import type { Precision } from '../../inference/precision.ts';
import { rank, rankingMetrics } from '../../training/metrics/ranking.ts';
import { shippedFolder } from '../data-folder/shipped-bundles.ts';
import { brainT1Demo } from '../demo/brain-t1-demo.ts';
import { median } from './peak.ts';

/** Of each test study, every so manieth slice is scored. */
const EVERY = 4;

/** What a precision does to scores. */
export interface ScoreDeviation {
  /** Of a slice's score from that in float32, as a part of it. */
  medianDeviation: number;
  /** The same as a part of the bundle's threshold: scores far below it are near zero. */
  largestDeviation: number;
  /** Slices with a lesion against slices of healthy heads. */
  auroc: number;
  float32Auroc: number;
}

/** Scores the test studies of `brain-t1-demo`, which ships, in float32 on the CPU and in another precision. */
export async function scoreDeviation(
  provider: ExecutionProvider,
  precision: Precision,
): Promise<ScoreDeviation> {
  const root = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  const scorers: Scorer[] = [];
  try {
    const file = (await readdir(shippedFolder)).find((name) => name.startsWith(`${brainT1Demo.name}@`))!;
    const { id } = await importBundle(root, join(shippedFolder, file));
    scorers.push(await Scorer.open(root, id), await Scorer.open(root, id, { provider, precision }));
    const scores: [number[], number[]] = [[], []];
    const labels: (0 | 1)[] = [];
    for await (const { kind, slices } of brainT1Demo.testStudies()) {
      const told = slices.filter((slice, i) => i % EVERY === 0 && (!kind || slice.truth!.some(Boolean)));
      labels.push(...told.map(() => (kind ? 1 : 0)));
      for (const [i, scorer] of scorers.entries()) {
        for await (const { rawScore } of scorer.score(told)) scores[i].push(rawScore);
      }
    }
    const [exact, others] = scores;
    const { scores: normal, alpha } = calibrationOf(scorers[0].bundle);
    const deviations = others.map((score, i) => Math.abs(score - exact[i]));
    const auroc = (scores: number[]) => rankingMetrics(rank(scores, labels)).auroc;
    return {
      medianDeviation: median(deviations.map((deviation, i) => deviation / exact[i])),
      largestDeviation: Math.max(...deviations) / threshold(normal, alpha),
      auroc: auroc(others),
      float32Auroc: auroc(exact),
    };
  } finally {
    for (const scorer of scorers) await scorer.close();
    await rm(root, { recursive: true });
  }
}
