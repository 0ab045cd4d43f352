import { z } from 'zod';
import { nameSchema } from '../../inference/bundle/schema.ts';
import { lossNames } from '../../training/loss.ts';
import { gateMargins } from '../../training/promotion-gate.ts';

const share = z.number().gt(0).lt(1);
const count = z.number().int().positive();

/** Matching keys of QIDO-RS as text, `StudyDate=20260101-&ModalitiesInStudy=CR`; undefined where they are none. */
export function matchingKeys(text: string): Record<string, string> | undefined {
  const keys = [...new URLSearchParams(text)];
  const wrong = keys.some(([key]) => !/^(\w+|[0-9A-Fa-f]{8})$/.test(key));
  return keys.length === 0 || wrong ? undefined : Object.fromEntries(keys);
}

/** Where studies of a kind come from: any of these, together. */
export const studySourceSchema = z
  .strictObject({
    /** The archive that holds them. */
    archive: z.string().default('orthanc'),
    /** File of StudyInstanceUIDs, one a line. */
    studies: z.string().min(1).optional(),
    /** Matching keys of QIDO-RS. */
    query: z
      .string()
      .refine((text) => matchingKeys(text) !== undefined, 'not of the form Keyword=value&Keyword=value')
      .optional(),
    /** Folder of DICOM files, or of PNG and JPEG pictures. */
    folder: z.string().min(1).optional(),
    /** On names of pictures: its first group is the patient; each picture is a patient of its own, if left out. */
    patientPattern: z.string().optional(),
    /** Orthanc's label (from Orthanc 1.12). */
    label: z.string().min(1).optional(),
    /** Orthanc's metadata of the study: `NAME=VALUE`. */
    metadata: z
      .string()
      .regex(/^[\w-]+=/, 'not of the form NAME=VALUE')
      .optional(),
    /** Studies of which readers said so last. */
    feedback: z.literal(true).optional(),
  })
  .refine(
    ({ archive: _archive, patientPattern: _pattern, ...sources }) => Object.keys(sources).length > 0,
    'give at least one of studies, query, folder, label, metadata, feedback',
  );

export type StudySource = z.infer<typeof studySourceSchema>;

/** That a micro-batch, if one is given, divides the batch: for `refine`. */
export const microBatchDivides: [
  (request: { batchSize: number; microBatch?: number | undefined }) => boolean,
  { path: string[]; error: string },
] = [
  ({ batchSize, microBatch = 1 }) => batchSize % microBatch === 0,
  { path: ['microBatch'], error: 'does not divide batchSize' },
];

/** What a retraining is asked for. */
export const retrainingRequestSchema = z
  .strictObject({
    profile: nameSchema,
    /** Studies that count as normal; never one that a reader called abnormal or spoilt last. */
    normal: studySourceSchema,
    /** Studies that are known to be abnormal, to evaluate by. */
    abnormal: studySourceSchema.optional(),
    /** At most so many normal studies, always the same ones. */
    limit: count.optional(),
    /** The bundle that gives model and frozen weights; the one promoted for the profile, if left out. */
    bundle: z.string().min(1).optional(),
    /** Goes on from that bundle's trained weights. */
    continue: z.boolean().default(false),
    /** Studies of different planes, or of very different extent or spacing. */
    mixedGeometry: z.enum(['refuse', 'accept']).default('refuse'),
    loss: z.enum(lossNames).default('perceptual'),
    epochs: count.default(300),
    batchSize: count.default(64),
    /** The largest up to 4 that divides the batch, if left out. */
    microBatch: count.optional(),
    rate: share.default(8e-5),
    seed: count.default(1),
    alpha: share.default(0.05),
    /** Augmentation by slices that are upside down: the paper's; false for what never is. */
    verticalFlip: z.boolean().default(true),
    checkpointEvery: count.default(100),
    /** Computes decoder blocks twice: less memory for more time. */
    checkpointing: z.boolean().default(false),
    threads: count.optional(),
    /** Shares of the patients that are held out: to calibrate, and to evaluate by. */
    calibration: share.default(0.2),
    evaluation: share.default(0.2),
    gate: z
      .strictObject({
        falsePositives: share.default(gateMargins.falsePositives),
        auroc: share.default(gateMargins.auroc),
      })
      .prefault({}),
    /** Whether a candidate that passes the gate is promoted. */
    promote: z.boolean().default(true),
    /** Whether one that is not promoted scores in shadow. */
    shadow: z.boolean().default(false),
  })
  .refine(...microBatchDivides);

export type RetrainingRequest = z.infer<typeof retrainingRequestSchema>;
