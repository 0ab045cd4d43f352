import { z } from 'zod';
import { calibrationSchema } from '../calibration.ts';
import type { Calibration } from '../calibration.ts';
import { modelConfigSchema } from '../model/config.ts';
import type { Precision } from '../precision.ts';
import { imageReductionSchema, mapReductionSchema } from '../model/scores.ts';

/** Names of bundles and profiles, safe as file names. */
export const nameSchema = z
  .string()
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'lower-case letters, digits and hyphens only');

const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in hexadecimal');
const count = z.number().int().nonnegative();

/** A file `weights/<sha256>.safetensors`: the parameters whose names begin with `prefix`, stored without it. */
const weightsSchema = z.strictObject({
  prefix: z.string(),
  sha256: sha256Schema,
  bytes: count,
});

const percent = z.number().min(0).max(100);

/** How values become grey, 0 (black) to 1. */
const intensitySchema = z.discriminatedUnion('from', [
  /** A window in units after the modality LUT, such as HU. */
  z.strictObject({ from: z.literal('window'), center: z.number(), width: z.number().positive() }),
  /** Between two percentiles of all values of the series that the profile looks at. */
  z
    .strictObject({ from: z.literal('series'), lowPercentile: percent, highPercentile: percent })
    .refine(
      ({ lowPercentile, highPercentile }) => lowPercentile < highPercentile,
      'the lower one comes first',
    ),
  /** The image's own VOI LUT or window, else between its percentiles 0.5 and 99.5. */
  z.strictObject({ from: z.literal('image') }),
  /** The whole range of the stored bits. */
  z.strictObject({ from: z.literal('stored') }),
]);

/** Which series a profile scores. A condition that is left out is no condition. */
const seriesSchema = z.strictObject({
  /** DICOM's codes: MR, CT, … */
  modalities: z.array(z.string()).min(1).optional(),
  /** Body Part Examined; a series that names none fits. */
  bodyParts: z.array(z.string()).min(1).optional(),
  planes: z
    .array(z.enum(['axial', 'coronal', 'sagittal']))
    .min(1)
    .optional(),
  contrast: z.enum(['T1', 'T2', 'FLAIR']).optional(),
  /** Of projections: View Position; an image that names none fits if no other does. */
  views: z.array(z.string()).min(1).optional(),
});

/** A task: how slices are chosen, prepared and reduced to scores. */
export const profileSchema = z.strictObject({
  name: nameSchema,
  /** Any stack of grey slices, if left out. */
  series: seriesSchema.optional(),
  preprocessing: z.strictObject({
    /** Of intensities in [0, 1]; one value for all channels. */
    mean: z.number(),
    std: z.number().positive(),
    /** As `image`, if left out. */
    intensity: intensitySchema.optional(),
    /** What must be alone in a slice: black around it, or a mask given with it. Anything, if left out. */
    isolated: z.enum(['brain', 'liver']).optional(),
    /** A series where that cannot be had: it is not scored (`refuse`, if left out), or as it is. */
    notIsolated: z.enum(['refuse', 'accept']).optional(),
    /** `resize` (if left out): to the model's image size. `region`: what is not black, in the middle, unscaled. */
    placement: z.enum(['resize', 'region']).optional(),
    /** Smoothing on the model's grid; none if left out. */
    bilateral: z
      .strictObject({
        diameter: z.number().int().positive(),
        sigmaColor: z.number().positive(),
        sigmaSpace: z.number().positive(),
      })
      .optional(),
  }),
  /** Slices scored of a study; null: all. */
  maxSlices: z.number().int().positive().nullable(),
  /** Which ones, where there are more: at equal distances over the whole stack, or around its middle. */
  sampling: z.enum(['even', 'central']),
  reductions: z.strictObject({
    image: imageReductionSchema,
    map: mapReductionSchema,
    /** Over the scored slices of a study. */
    study: z.literal('max'),
  }),
});

/** A trained ensemble member: its own projection, Q-Former and decoder. */
const headSchema = z.strictObject({ name: nameSchema, weights: z.array(weightsSchema).min(1) });

const provenanceSchema = z.strictObject({
  /** Name and version of the program that made the bundle. */
  software: z.string(),
  origin: z.enum(['untrained', 'trained', 'imported']),
  seed: count.optional(),
  trainingStudies: count,
  calibrationStudies: count,
  /** Salted hashes of Study Instance UIDs that the model has seen. */
  studyHashes: z.array(z.string()).default([]),
  /** Says whose salt that is: hashes with other salts cannot be compared. */
  studySalt: z.string().optional(),
  /** The ID of the bundle that this one continues. */
  predecessor: z.string().optional(),
});

/** An image on the model's grid, and the score that the bundle gave it when it was made. */
const referenceSchema = z.strictObject({
  /** Bytes of the grey image, row-major, Base64. */
  pixels: z.base64(),
  rawScore: z.number(),
  /** Largest deviation that rounding on another machine explains. */
  tolerance: z.number().positive(),
});

/** `bundle.json`: everything that decides a score. */
export const manifestSchema = z
  .strictObject({
    schemaVersion: z.literal(1),
    name: nameSchema,
    /** As a reader sees it. */
    title: z.string().min(1),
    /** What whoever looks at its scores should know of what it has learned. */
    note: z.string().min(1).optional(),
    profile: profileSchema,
    model: modelConfigSchema,
    /** Shared by all heads: frozen encoders and the perceptual model. */
    weights: z.array(weightsSchema),
    /** One for QFAE, several for DDAD. */
    heads: z.array(headSchema).min(1),
    /** null: not calibrated yet. Such a bundle can be calibrated, but neither promoted nor scored with. */
    calibration: calibrationSchema.nullable(),
    provenance: provenanceSchema,
    reference: referenceSchema,
    metrics: z.record(z.string(), z.number()),
  })
  .refine(
    ({ model, reference }) => Buffer.from(reference.pixels, 'base64').length === model.imageSize ** 2,
    'the reference image must fill the model grid',
  );

export type Manifest = z.infer<typeof manifestSchema>;
export type BundleWeights = z.infer<typeof weightsSchema>;

/** A manifest under its ID: `<name>@<first 12 hexadecimal digits of the SHA-256 of bundle.json>`. */
export interface Bundle extends Manifest {
  readonly id: string;
}

/** Every weight file that a bundle names. */
export function bundleWeights({ weights, heads }: Manifest): BundleWeights[] {
  return [...weights, ...heads.flatMap((head) => head.weights)];
}

/**
 * What is to be said of a bundle that scores in `precision`, where its calibration was computed in another one: then its
 * scores are compared with scores that lie elsewhere. Undefined where the two are the same, or it has none.
 */
export function precisionRemark(
  { id, calibration }: Pick<Bundle, 'id' | 'calibration'>,
  precision: Precision,
): string | undefined {
  const calibratedIn = calibration?.precision ?? 'float32';
  if (!calibration || calibratedIn === precision) return undefined;
  return `bundle ${id} is calibrated in ${calibratedIn} and scores in ${precision}: its percentiles and flags may be wrong. Calibrate it with these settings: qfae calibrate --bundle ${id} --normal FOLDER`;
}

/** The calibration of a bundle. Throws if it has none yet, saying what to do. */
export function calibrationOf({ id, calibration }: Pick<Bundle, 'id' | 'calibration'>): Calibration {
  if (calibration) return calibration;
  throw new Error(`bundle ${id} is not calibrated: qfae calibrate --bundle ${id} --normal FOLDER`);
}
