import type { InputSlice, Scorer } from '../../inference/scorer.ts';
import { sampleSlices } from '../../inference/slice-sampling.ts';
import { uniformStream } from '../../training/philox.ts';
import type { CachedSlice, CachedStudy, SliceCache } from '../../training/slice-cache.ts';
import {
  anomalyKinds,
  anomalyPlace,
  withAnomaly,
  type AnomalyKind,
} from '../../training/synthetic-anomaly.ts';

/** A synthetic anomaly lies in this share of a stack's slices, in its middle; in one at least. */
const ALTERED = 0.25;

/** Raw scores of studies, in their order. */
export async function scoreStudies(
  scorer: Scorer,
  cache: SliceCache,
  studies: readonly CachedStudy[],
  signal?: AbortSignal,
): Promise<number[]> {
  const scores = [];
  for (const study of studies) {
    const slices = sampled(scorer, study).map((slice) => () => cache.read(slice));
    scores.push(maximum(await scoresOf(scorer, slices, signal)));
  }
  return scores;
}

/** Scores of normal studies as they are, and with an anomaly of each kind put into them. */
export interface SyntheticScores {
  readonly normal: readonly number[];
  /** By kind, in the order of the studies. */
  readonly abnormal: Readonly<Record<AnomalyKind, readonly number[]>>;
}

/** The same seed puts the same anomalies into the same studies, whichever bundle scores. */
export async function scoreWithAnomalies(
  scorer: Scorer,
  cache: SliceCache,
  studies: readonly CachedStudy[],
  seed: number,
  signal?: AbortSignal,
): Promise<SyntheticScores> {
  const normal: number[] = [];
  const abnormal = Object.fromEntries(anomalyKinds.map((kind) => [kind, [] as number[]])) as Record<
    AnomalyKind,
    number[]
  >;
  for (const [position, study] of studies.entries()) {
    const slices = sampled(scorer, study);
    const scores = await scoresOf(
      scorer,
      slices.map((slice) => () => cache.read(slice)),
      signal,
    );
    normal.push(maximum(scores));
    const count = Math.max(1, Math.round(ALTERED * slices.length));
    const first = Math.floor((slices.length - count) / 2);
    const altered = slices.slice(first, first + count);
    const others = scores.filter((_, i) => i < first || i >= first + count);
    const middle = await cache.read(altered[Math.floor(count / 2)]);
    for (const [number, kind] of anomalyKinds.entries()) {
      const stream = () => uniformStream(seed, 'anomaly', position * anomalyKinds.length + number);
      const place = anomalyPlace(middle, stream());
      const changed = altered.map((slice) => async (): Promise<InputSlice> => {
        const read = await cache.read(slice);
        return place ? withAnomaly(read, kind, place, stream()) : read;
      });
      abnormal[kind].push(maximum([...others, ...(await scoresOf(scorer, changed, signal))]));
    }
  }
  return { normal, abnormal };
}

function sampled({ bundle: { profile } }: Scorer, { slices }: CachedStudy): CachedSlice[] {
  return sampleSlices(slices.length, profile).map((i) => slices[i]);
}

async function scoresOf(
  scorer: Scorer,
  slices: readonly (() => Promise<InputSlice>)[],
  signal: AbortSignal | undefined,
): Promise<number[]> {
  async function* read() {
    for (const slice of slices) yield await slice();
  }
  const scores = [];
  for await (const { rawScore } of scorer.scoreRaw(read(), signal)) scores.push(rawScore);
  return scores;
}

function maximum(scores: readonly number[]): number {
  // Unlike Math.max, a score that is no number is not passed over by a later larger one.
  return scores.reduce(
    (highest, score) => (score > highest || Number.isNaN(score) ? score : highest),
    -Infinity,
  );
}
