import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../../inference/atomic-file.ts';
import { modelCardSchema } from './model-card.ts';

const studies = z.array(z.string());

const preparationSchema = z.object({
  /** The bundle that gives model and frozen weights. */
  base: z.string(),
  /** The bundle that the candidate is compared with; null: none was promoted. */
  promoted: z.string().nullable(),
  /** Pseudonyms of the studies of each part. */
  parts: z.object({ training: studies, calibration: studies, evaluation: studies, abnormal: studies }),
  data: modelCardSchema.shape.data,
});

/** With what a run trains and is judged: fixed before its first step, whatever is promoted or arrives afterwards. */
export type Preparation = z.infer<typeof preparationSchema>;

export const preparationPath = (folder: string) => join(folder, 'preparation.json');

/** What a run was prepared with; undefined while its data set is not complete. */
export async function readPreparation(folder: string): Promise<Preparation | undefined> {
  const text = await readFile(preparationPath(folder), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  });
  return text === undefined ? undefined : preparationSchema.parse(JSON.parse(text));
}

export async function writePreparation(folder: string, preparation: Preparation): Promise<void> {
  await writeAtomically(preparationPath(folder), (file) => file.writeFile(JSON.stringify(preparation)));
}
