import { z } from 'zod';
import { nameSchema } from '../../inference/bundle/schema.ts';
import { settingsSchema } from '../settings.ts';
import { whyNoCondition } from './attribute.ts';
import { conditionSchema } from './condition.ts';

const { sr, sc, seg, pmap, ko, pr } = settingsSchema.shape.outputs.unwrap().shape;
const outputsSchema = z.strictObject({
  sr: sr.unwrap().optional(),
  sc: sc.unwrap().optional(),
  seg: seg.unwrap().optional(),
  pmap: pmap.unwrap().optional(),
  ko: ko.unwrap().optional(),
  pr: pr.unwrap().optional(),
});

const seconds = z.number().positive();
const archives = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
  .transform((names) => [names].flat());

const conditions = z
  .record(z.string(), conditionSchema)
  .superRefine((byKeyword, context) => {
    for (const keyword of Object.keys(byKeyword)) {
      const message = whyNoCondition(keyword);
      if (message !== undefined) context.addIssue({ code: 'custom', path: [keyword], message });
    }
  })
  .default({});

/** When a study is complete: quiet for long enough and with enough instances, or at the latest after a wait. */
const completeSchema = z
  .strictObject({
    /** Default: `arrival.quietSeconds`. */
    quietSeconds: seconds.optional(),
    /** So many instances in the series that fit the rule. */
    instances: z.number().int().positive().optional(),
    /** The longest wait, from the first arrival on. */
    waitSeconds: seconds.optional(),
  })
  .refine(({ instances, waitSeconds }) => instances === undefined || waitSeconds !== undefined, {
    path: ['instances'],
    message: 'needs waitSeconds: the instances may never come',
  });

const ruleSchema = z.strictObject({
  name: z.string().min(1).max(100),
  /** The archives whose studies the rule is for; all, if left out. */
  from: archives.optional(),
  /** AE titles of C-STORE senders. */
  callingAE: archives.optional(),
  /** By DICOM keyword; of all series of the study together. */
  study: conditions,
  /** By DICOM keyword; at least one series must fulfil all, and only such series are scored. */
  series: conditions,
  /** Whether such studies are scored. */
  score: z.boolean().default(true),
  /** Its promoted bundle scores; the setting `bundle`, if left out. */
  profile: nameSchema.optional(),
  /** What differs from the setting `outputs`. */
  outputs: outputsSchema.default({}),
  /** Archives that the results go to; where the study is, if left out. */
  to: archives.optional(),
  /** Jobs of higher priority go first. */
  priority: z.number().int().min(-1000).max(1000).default(0),
  complete: completeSchema.prefault({}),
});

/** A file of rules; of the rules that apply to a study, the first decides. */
export const rulesSchema = z
  .strictObject({ rules: z.array(ruleSchema) })
  .superRefine(({ rules }, context) => {
    rules.forEach(({ name }, index) => {
      if (rules.findIndex((other) => other.name === name) < index) {
        context.addIssue({
          code: 'custom',
          path: ['rules', index, 'name'],
          message: 'another rule has this name',
        });
      }
    });
  });

export type Rule = z.infer<typeof ruleSchema>;
