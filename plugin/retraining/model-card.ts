import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../../inference/atomic-file.ts';

const count = z.number().int().nonnegative();
const interval = z.tuple([z.number(), z.number()]).readonly();

const metricsSchema = z.object({
  auroc: z.number(),
  aurocInterval: interval,
  averagePrecision: z.number(),
  averagePrecisionInterval: interval,
  falsePositiveRate: z.number(),
  falsePositiveUpperBound: z.number(),
  /** Share of the abnormal cases above the threshold. */
  sensitivity: z.number(),
  /** AUROC of each kind of synthetic anomaly, where those were evaluated by. */
  aurocByKind: z.record(z.string(), z.number()),
});

export type CardMetrics = z.infer<typeof metricsSchema>;

const partSchema = z.object({ patients: count, studies: count, slices: count });

/** What a retraining did, and how good what it made is. It holds counts, and nothing that names a study. */
export const modelCardSchema = z.object({
  version: z.literal(1),
  bundle: z.string(),
  profile: z.string(),
  /** Where model and frozen weights come from. */
  base: z.string(),
  /** What it was compared with; null: nothing was promoted. */
  comparedWith: z.string().nullable(),
  madeAt: z.iso.datetime(),
  versions: z.object({ qfae: z.string(), node: z.string(), onnxruntime: z.string() }),
  /** What was asked for; of the sources of studies their kinds. */
  request: z.record(z.string(), z.unknown()),
  data: z.object({
    training: partSchema,
    calibration: partSchema,
    evaluation: partSchema,
    abnormal: partSchema,
    /** Studies that were named as normal, and also as abnormal, or that a reader called abnormal or spoilt. */
    contradicted: count,
    /** Studies that were not taken, and the commonest reasons. */
    leftOut: count,
    leftOutReasons: z.array(z.string()),
  }),
  /** Losses: of some steps, and of held-out slices. */
  curves: z.object({
    training: z.array(z.tuple([count, z.number()])),
    heldOut: z.array(z.tuple([count, z.number()])),
  }),
  /** What the abnormal cases are. */
  evaluatedBy: z.enum(['labelled studies', 'synthetic anomalies']),
  candidate: metricsSchema.nullable(),
  promoted: metricsSchema.nullable(),
  /** On labelled abnormal studies of too few patients to decide by them, if there are any. */
  labelled: z
    .object({ candidate: metricsSchema, promoted: metricsSchema.nullable() })
    .nullable()
    .default(null),
  /** Conditions of the gate, each with its numbers. */
  gate: z.array(
    z.object({
      name: z.string(),
      passed: z.boolean(),
      finding: z.string(),
      numbers: z.record(z.string(), z.number()),
    }),
  ),
  /** What came of it. */
  outcome: z.enum(['promoted', 'candidate']),
  /** Why it was not promoted, where it was not. */
  reason: z.string().nullable(),
});

export type ModelCard = z.infer<typeof modelCardSchema>;

/** Where the card of a bundle lies: beside its `bundle.json`, of which the ID is the hash. */
const cardPath = (root: string, id: string) => join(root, 'bundles', id, 'card.json');

/** Writes the card of a bundle that is there. */
export async function writeCard(root: string, card: ModelCard): Promise<void> {
  const json = `${JSON.stringify(modelCardSchema.parse(card), undefined, 1)}\n`;
  await writeAtomically(cardPath(root, card.bundle), (file) => file.writeFile(json));
}

/** The card of a bundle; undefined for one that no retraining made. */
export async function readCard(root: string, id: string): Promise<ModelCard | undefined> {
  const text = await readFile(cardPath(root, id), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  });
  return text === undefined ? undefined : modelCardSchema.parse(JSON.parse(text));
}
