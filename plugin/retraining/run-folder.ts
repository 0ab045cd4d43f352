import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../../inference/atomic-file.ts';
import { retrainingRequestSchema, type RetrainingRequest } from './request.ts';
import type { ChosenStudies } from './choose-studies.ts';
import { cachePath } from './data-set.ts';
import { preparationPath, readPreparation } from './preparation.ts';

/*
 * A run's folder, `runs/retrain-<profile>-<number>` in the data folder:
 *   run.json               what was asked for, and the studies that were chosen
 *   studies.jsonl          the manifest: each study, why it is in, what became of it
 *   normal-slices, abnormal-slices   slice caches
 *   preparation.json       with what it trains, from the time when its data set is complete
 *   training               checkpoint, log, pictures
 *   judged.json            the bundle and whether it may be promoted
 *   result.json            the bundle and what came of it; a run without is not at its end
 */

const chosenStudy = z.object({ archive: z.string(), studyInstanceUID: z.string(), why: z.array(z.string()) });

const runSchema = z.object({
  request: retrainingRequestSchema,
  chosen: z.object({
    normal: z.array(chosenStudy),
    abnormal: z.array(chosenStudy),
    contradicted: z.number(),
  }),
});

export interface RetrainingRun {
  readonly folder: string;
  readonly request: RetrainingRequest;
  readonly chosen: ChosenStudies;
}

/** What came of a run. */
export const runResultSchema = z.object({
  bundle: z.string(),
  outcome: z.enum(['promoted', 'candidate']),
  reason: z.string().nullable(),
});

export type RunResult = z.infer<typeof runResultSchema>;

const resultPath = (folder: string) => join(folder, 'result.json');
const runs = (root: string) => join(root, 'runs');

/** Makes a run's folder, under the next free number. */
export async function createRun(
  root: string,
  request: RetrainingRequest,
  chosen: ChosenStudies,
): Promise<RetrainingRun> {
  const last = (await runNumbers(root, request.profile)).at(-1) ?? 0;
  const folder = join(runs(root), `retrain-${request.profile}-${last + 1}`);
  await mkdir(folder, { recursive: true });
  const run = { folder, request, chosen };
  await writeRun(run);
  return run;
}

async function writeRun({ folder, request, chosen }: RetrainingRun): Promise<void> {
  await writeAtomically(join(folder, 'run.json'), (file) =>
    file.writeFile(JSON.stringify({ request, chosen }, undefined, 1)),
  );
}

/**
 * The newest run of the same request, if it has not come to its end, else a new one. Until a run has its whole data
 * set, studies are chosen anew: it takes those that have come since.
 */
export async function beginRun(
  root: string,
  request: RetrainingRequest,
  choose: () => Promise<ChosenStudies>,
): Promise<RetrainingRun> {
  const unfinished = await unfinishedRun(root, request);
  if (!unfinished) return createRun(root, request, await choose());
  if (await readPreparation(unfinished.folder)) return unfinished;
  const run = { ...unfinished, chosen: await choose() };
  await writeRun(run);
  return run;
}

/** Opens a run's folder. Throws if it is none. */
export async function openRun(folder: string): Promise<RetrainingRun> {
  const text = await readFile(join(folder, 'run.json'), 'utf8').catch((error: unknown) => {
    throw new Error(`${folder} is no folder of a retraining: it has no readable run.json`, { cause: error });
  });
  const { request, chosen } = runSchema.parse(JSON.parse(text));
  return { folder, request, chosen };
}

/** The runs of a profile, the newest last. */
export async function runsOf(root: string, profile: string): Promise<string[]> {
  const numbers = await runNumbers(root, profile);
  return numbers.map((number) => join(runs(root), `retrain-${profile}-${number}`));
}

/** The newest run of the same request, if it has not come to its end. */
async function unfinishedRun(root: string, request: RetrainingRequest): Promise<RetrainingRun | undefined> {
  const newest = (await runsOf(root, request.profile)).at(-1);
  if (newest === undefined || (await runResult(newest))) return undefined;
  const run = await openRun(newest).catch(() => undefined); // killed before it had a request
  return run && JSON.stringify(run.request) === JSON.stringify(request) ? run : undefined;
}

/** What came of a run; undefined while it is not at its end. */
export async function runResult(folder: string): Promise<RunResult | undefined> {
  const text = await readFile(resultPath(folder), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : runResultSchema.parse(JSON.parse(text));
}

/** Writes what came of a run, which is then at its end. */
export async function writeRunResult(folder: string, result: RunResult): Promise<void> {
  await writeAtomically(resultPath(folder), (file) => file.writeFile(JSON.stringify(result)));
}

/**
 * Removes the runs of a profile but for the newest `kept` and the `present` one: they hold UIDs and pixels of patients.
 * Of those that it keeps, pixels stay only where a training is under way: the others are at their end, or ended before.
 */
export async function removeOldRuns(
  root: string,
  { folder: present, request: { profile } }: RetrainingRun,
  kept: number,
): Promise<void> {
  const folders = await runsOf(root, profile);
  for (const [i, folder] of folders.entries()) {
    if (resolve(folder) === resolve(present)) continue;
    if (i < folders.length - kept) await rm(folder, { recursive: true, force: true });
    else if (existsSync(resultPath(folder)) || !existsSync(preparationPath(folder)))
      await removePixels(folder);
  }
}

/** Removes the slices of patients from a run's folder. */
export async function removePixels(folder: string): Promise<void> {
  for (const path of [cachePath(folder, 'normal'), cachePath(folder, 'abnormal'), join(folder, 'work')]) {
    await rm(path, { recursive: true, force: true });
  }
}

async function runNumbers(root: string, profile: string): Promise<number[]> {
  const names = await readdir(runs(root)).catch(() => []);
  const prefix = `retrain-${profile}-`;
  return names
    .filter((name) => name.startsWith(prefix) && /^[1-9]\d*$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b);
}
