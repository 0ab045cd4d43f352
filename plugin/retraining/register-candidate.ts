import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../../inference/atomic-file.ts';
import { addBundle, promoteAfter } from '../../inference/bundle/registry.ts';
import { removeBundle } from '../../inference/bundle/remove.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import { setShadow } from '../../inference/bundle/shadow.ts';
import { readRecords } from '../../training/run-log.ts';
import { logPath } from '../../training/trainer.ts';
import { version } from '../version.ts';
import { readCard, writeCard, type CardMetrics, type ModelCard } from './model-card.ts';
import type { PreparedData } from './prepare-data.ts';
import type { Evaluated } from './evaluate-candidate.ts';
import { removePixels, writeRunResult, type RetrainingRun, type RunResult } from './run-folder.ts';
import { saltID, studySalt } from './study-salt.ts';

const onnxruntime = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };

/** Points of a card's curve of the training loss. */
const CURVE_POINTS = 200;

const judgedSchema = z.object({
  bundle: z.string(),
  /** Why it is not promoted; null where it shall be. */
  reason: z.string().nullable(),
});

/** A candidate in the registry, and what gate and request say of it. */
export type JudgedCandidate = z.infer<typeof judgedSchema>;

const judgedPath = (folder: string) => join(folder, 'judged.json');

/** The candidate that a run has made; undefined while it has made none. */
export async function readJudged(folder: string): Promise<JudgedCandidate | undefined> {
  const text = await readFile(judgedPath(folder), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  });
  return text === undefined ? undefined : judgedSchema.parse(JSON.parse(text));
}

/** Adds a candidate to the registry, with its card. */
export async function registerCandidate(
  run: RetrainingRun,
  root: string,
  prepared: PreparedData,
  trained: Bundle,
  evaluated: Evaluated,
): Promise<JudgedCandidate> {
  const { folder, request } = run;
  const { verdict, candidate } = evaluated;
  const bundle = await registered(root, prepared.base, trained, candidate, request.continue);
  const failed = verdict.conditions.filter(({ passed }) => !passed);
  const reason = !verdict.passed
    ? failed.map(({ name, finding }) => `${name}: ${finding}`).join('; ')
    : !request.promote
      ? 'the request wants no promotion'
      : null;
  await writeCard(root, {
    version: 1,
    bundle: bundle.id,
    profile: request.profile,
    base: prepared.base.id,
    comparedWith: prepared.promoted?.id ?? null,
    madeAt: new Date().toISOString(),
    versions: {
      qfae: version,
      node: process.versions.node,
      onnxruntime: onnxruntime.version,
    },
    request: cardRequest(run),
    data: prepared.data,
    curves: await curves(join(folder, 'training')),
    evaluatedBy: evaluated.evaluatedBy,
    candidate,
    promoted: evaluated.promoted,
    labelled: evaluated.labelled,
    gate: verdict.conditions.map((condition) => ({ ...condition })),
    ...{ outcome: 'candidate', reason: reason ?? 'it is not promoted yet' },
  });
  const judged = { bundle: bundle.id, reason };
  await writeAtomically(judgedPath(folder), (file) => file.writeFile(JSON.stringify(judged)));
  return judged;
}

/**
 * Promotes a candidate where gate and request allow, and no other was promoted since it was compared. Then the card says
 * so, and the run's pixels are removed. A call that was cut short may be repeated.
 */
export async function settle(
  { folder, request }: RetrainingRun,
  root: string,
  judged: JudgedCandidate,
): Promise<RunResult> {
  const { bundle } = judged;
  const card = await readCard(root, bundle);
  if (!card) throw new Error(`bundle ${bundle}, which the run in ${folder} made, has no card`);
  const reason =
    judged.reason !== null || (await promoteAfter(root, bundle, card.comparedWith ?? undefined))
      ? judged.reason
      : 'another bundle was promoted meanwhile';
  const outcome = reason === null ? 'promoted' : 'candidate';
  if (outcome === 'candidate' && request.shadow) await setShadow(root, bundle);
  await writeCard(root, { ...card, outcome, reason });
  // Pixels of patients: nobody needs them any more.
  await removePixels(folder);
  const result: RunResult = { bundle, outcome, reason };
  await writeRunResult(folder, result);
  return result;
}

/** The trained bundle with its metrics and the mark of the salt; it takes the place of the one without. */
async function registered(
  root: string,
  base: Bundle,
  trained: Bundle,
  metrics: CardMetrics | null,
  continued: boolean,
): Promise<Bundle> {
  const { id, ...manifest } = trained;
  const seenBefore = continued ? base.provenance.studyHashes : [];
  const bundle = await addBundle(root, {
    ...manifest,
    provenance: {
      ...manifest.provenance,
      studyHashes: [...new Set([...manifest.provenance.studyHashes, ...seenBefore])],
      studySalt: saltID(await studySalt(root)),
      predecessor: base.id,
    },
    metrics: metrics
      ? {
          auroc: metrics.auroc,
          aurocLower: metrics.aurocInterval[0],
          aurocUpper: metrics.aurocInterval[1],
          falsePositiveRate: metrics.falsePositiveRate,
          falsePositiveUpperBound: metrics.falsePositiveUpperBound,
          sensitivity: metrics.sensitivity,
        }
      : {},
  });
  if (bundle.id !== id) await removeBundle(root, id);
  return bundle;
}

/** The request as a card may show it: of its sources only the kinds, since queries and files may name patients. */
function cardRequest({ request }: RetrainingRun): Record<string, unknown> {
  const { normal, abnormal, ...rest } = request;
  return { ...rest, normal: Object.keys(normal), ...(abnormal && { abnormal: Object.keys(abnormal) }) };
}

async function curves(folder: string): Promise<ModelCard['curves']> {
  const records = await readRecords(logPath(folder));
  const points = (type: 'step' | 'evaluation') =>
    records.flatMap((record) =>
      record.type === type ? [[record.step, record.loss] as [number, number]] : [],
    );
  const steps = points('step');
  const every = Math.ceil(steps.length / CURVE_POINTS);
  return {
    training: steps.filter(([step], i) => step % every === 0 || i === steps.length - 1),
    heldOut: points('evaluation'),
  };
}
