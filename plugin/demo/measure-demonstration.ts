import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { Scorer } from '../../inference/scorer.ts';
import type { Demonstration, KnownSlice } from './demonstration.ts';

/** What became of the studies of a kind. */
export interface Measured {
  studies: number;
  /** Studies above the threshold. */
  flagged: number;
  /** Of the pictures that were written. */
  readonly scores: number[];
}

/**
 * Scores the test studies, and writes their pictures for `qfae evaluate` below `folder`: `normal/*.png`,
 * `abnormal/<kind>/*.png`, and where the place is known `truth/<kind>/*.png`. Of an abnormal study these are the
 * slices that show the abnormality. Returns the results by kind, `normal` among them.
 */
export async function measureDemonstration(
  { testStudies }: Demonstration,
  root: string,
  bundle: string,
  folder: string,
): Promise<Map<string, Measured>> {
  const results = new Map<string, Measured>();
  const scorer = await Scorer.open(root, bundle);
  try {
    for await (const { patient, study, kind, slices } of testStudies()) {
      const place = kind === undefined ? 'normal' : join('abnormal', kind);
      await mkdir(join(folder, place), { recursive: true });
      const result = results.get(kind ?? 'normal') ?? { studies: 0, flagged: 0, scores: [] };
      results.set(kind ?? 'normal', result);
      const scores = [];
      for await (const score of scorer.score(slices)) {
        const slice = slices[scores.length];
        const name = `${patient}-${study.replace(/\W/g, '_')}-${scores.length}.png`;
        scores.push(score);
        const marked = slice.truth?.some((value) => value > 0);
        if (kind !== undefined && marked === false) continue;
        result.scores.push(score.rawScore);
        await writePicture(join(folder, place, name), slice, slice.pixels);
        if (!marked) continue;
        await mkdir(join(folder, 'truth', kind!), { recursive: true });
        const mask = slice.truth!.map((value) => (value > 0 ? 255 : 0));
        await writePicture(join(folder, 'truth', kind!, name), slice, mask);
      }
      result.studies += 1;
      if (scorer.studyScore(scores).flagged) result.flagged += 1;
    }
  } finally {
    await scorer.close();
  }
  return results;
}

async function writePicture(path: string, { rows, columns }: KnownSlice, pixels: Uint8Array): Promise<void> {
  await sharp(pixels, { raw: { width: columns, height: rows, channels: 1 } })
    .png()
    .toFile(path);
}
