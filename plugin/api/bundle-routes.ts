import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { bundleArchive } from '../../inference/bundle/bundle-archive.ts';
import {
  bundleID,
  bundleIDs,
  openBundle,
  promote,
  promotedBundle,
  promotionHistory,
  promotions,
  readBundle,
  rollback,
} from '../../inference/bundle/registry.ts';
import { threshold } from '../../inference/calibration.ts';
import { calibrationOf, nameSchema, precisionRemark, type Bundle } from '../../inference/bundle/schema.ts';
import { shadowBundle } from '../../inference/bundle/shadow.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { precisions } from '../../inference/precision.ts';
import { modelCardSchema, readCard } from '../retraining/model-card.ts';
import { shadowedStudies, shadowSummary } from '../retraining/shadow-scores.ts';
import { ruleBook } from '../rules/rule-book.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { answerSchema, route, type Route } from './route.ts';
import { scoreSchema } from './study-routes.ts';

const bundleFields = {
  id: z.string(),
  title: z.string(),
  /** What whoever looks at its scores should know. */
  note: z.string().optional(),
  profile: z.string(),
  /** Whether it scores for its profile. */
  promoted: z.boolean(),
  origin: z.string(),
};

const bundleSchema = answerSchema('Bundle', z.object(bundleFields));

const bundleListSchema = answerSchema(
  'BundleList',
  z.object({
    bundles: z.array(bundleSchema),
    /** Bundles that cannot be read, and why. */
    damaged: z.array(z.object({ id: z.string(), reason: z.string() })),
  }),
);

const bundleCardSchema = answerSchema(
  'BundleCard',
  z.object({
    ...bundleFields,
    /** Preprocessing, sampling and reductions, as in bundle.json. */
    task: z.record(z.string(), z.unknown()),
    provenance: z.object({
      software: z.string(),
      trainingStudies: z.number().int(),
      calibrationStudies: z.number().int(),
      seed: z.number().int().optional(),
      predecessor: z.string().optional(),
    }),
    metrics: z.record(z.string(), z.number()),
    /** null: not calibrated yet, and not to be promoted. */
    calibration: z
      .object({
        /** False-positive rate of the threshold. */
        alpha: z.number(),
        /** Raw scores of held-out normal studies, ascending. */
        scores: z.array(z.number()),
        mapThreshold: z.number(),
        /** The raw score at that rate. */
        threshold: z.number(),
        /** What these scores were computed in. */
        precision: z.enum(precisions),
        /** What is wrong with it where the node scores in another precision; null where it does not. */
        remark: z.string().nullable(),
      })
      .nullable(),
    heads: z.array(z.string()),
    weightBytes: z.number().int(),
    /** What a retraining said of it; null for one that no retraining made. */
    retraining: answerSchema('ModelCard', modelCardSchema).nullable(),
    /** Whether it scores in the shadow of its profile's bundle, and how it compared there. */
    shadow: z.object({
      active: z.boolean(),
      studies: z.number().int(),
      flagged: z.number().int(),
      /** Studies that the promoted bundle flagged. */
      flaggedByPromoted: z.number().int(),
      agreed: z.number().int(),
    }),
  }),
);

const profileListSchema = answerSchema(
  'ProfileList',
  z.object({
    profiles: z.array(
      z.object({
        name: z.string(),
        /** The bundle that scores; null where none is promoted. */
        promoted: z.string().nullable(),
        /** The candidate that scores in its shadow. */
        shadow: z.string().nullable(),
        /** IDs of the bundles that were promoted, in that order. */
        history: z.array(z.string()),
        bundles: z.array(z.string()),
        /** Rules that name it. */
        rules: z.array(z.string()),
      }),
    ),
  }),
);

const shadowSchema = answerSchema(
  'ShadowScores',
  z.object({
    studies: z.array(
      z.object({
        archive: z.string(),
        studyInstanceUID: z.string(),
        scoredAt: z.iso.datetime(),
        candidate: scoreSchema,
        /** The bundle in whose shadow it scored, and what that one said. */
        promoted: z.object({ bundle: z.string(), score: scoreSchema }),
      }),
    ),
  }),
);

/** Studies of a shadow that one answer holds at most. */
const shownShadows = 500;

const bundleParameters = z.strictObject({
  bundle: z.string().regex(/^[a-z0-9-]{1,200}(@[0-9a-f]{12})?$/, 'neither an ID nor a name of a bundle'),
});

/** What can score, and what does. */
export function bundleRoutes({ database, settings, precision }: ApiContext): Route[] {
  const root = settings.data;
  const known = async (reference: string): Promise<string> =>
    bundleID(root, reference).catch((error: unknown) => {
      throw new Problem(404, (error as Error).message);
    });
  const describe = async (bundle: Bundle) => ({
    id: bundle.id,
    title: bundle.title,
    ...(bundle.note !== undefined && { note: bundle.note }),
    profile: bundle.profile.name,
    promoted: (await promotedBundle(root, bundle.profile.name)) === bundle.id,
    origin: bundle.provenance.origin,
  });
  const readAll = async () => {
    const bundles: Bundle[] = [];
    const damaged: { id: string; reason: string }[] = [];
    for (const id of await bundleIDs(root)) {
      try {
        bundles.push(await readBundle(root, id));
      } catch (error) {
        damaged.push({ id, reason: (error as Error).message });
      }
    }
    return { bundles, damaged };
  };
  return [
    route({
      method: 'get',
      path: '/bundles',
      summary: 'What can score',
      answer: bundleListSchema,
      async handle() {
        const { bundles, damaged } = await readAll();
        return { bundles: await Promise.all(bundles.map(describe)), damaged };
      },
    }),
    route({
      method: 'get',
      path: '/bundles/{bundle}',
      summary: 'The card of a bundle: what decides its scores, where it comes from, how good it is',
      parameters: bundleParameters,
      answer: bundleCardSchema,
      problems: [404],
      async handle({ parameters }) {
        const bundle = await openBundle(root, await known(parameters.bundle));
        const { software, trainingStudies, calibrationStudies, seed, predecessor } = bundle.provenance;
        const { calibration } = bundle;
        const weights = [...bundle.weights, ...bundle.heads.flatMap((head) => head.weights)];
        return {
          ...(await describe(bundle)),
          task: bundle.profile,
          provenance: {
            software,
            trainingStudies,
            calibrationStudies,
            ...(seed !== undefined && { seed }),
            ...(predecessor !== undefined && { predecessor }),
          },
          metrics: bundle.metrics,
          calibration: calibration && {
            alpha: calibration.alpha,
            scores: calibration.scores,
            mapThreshold: calibration.mapThreshold,
            threshold: threshold(calibration.scores, calibration.alpha),
            precision: calibration.precision ?? 'float32',
            remark: precisionRemark(bundle, precision) ?? null,
          },
          heads: bundle.heads.map(({ name }) => name),
          weightBytes: weights.reduce((sum, { bytes }) => sum + bytes, 0),
          retraining: (await readCard(root, bundle.id)) ?? null,
          shadow: {
            active: (await shadowBundle(root, bundle.profile.name)) === bundle.id,
            ...(await shadowSummary(database, bundle.id)),
          },
        };
      },
    }),
    route({
      method: 'get',
      path: '/bundles/{bundle}/export',
      summary: 'A bundle with its weights in one file, as `qfae bundles import` and workers take it',
      parameters: bundleParameters,
      answer: 'application/x-tar',
      problems: [404],
      async handle({ parameters, response }) {
        const bundle = await openBundle(root, await known(parameters.bundle));
        response.type('application/x-tar');
        await pipeline(bundleArchive(root, bundle), response);
        return undefined;
      },
    }),
    route({
      method: 'get',
      path: '/bundles/{bundle}/shadow',
      summary: 'What a bundle said in shadow of the studies scored last, beside what the promoted one said',
      parameters: bundleParameters,
      answer: shadowSchema,
      problems: [404],
      async handle({ parameters }) {
        const studies = await shadowedStudies(database, await known(parameters.bundle), shownShadows);
        return {
          studies: studies.map(({ scoredAt, ...study }) => ({ ...study, scoredAt: scoredAt.toISOString() })),
        };
      },
    }),
    route({
      method: 'post',
      path: '/bundles/{bundle}/promote',
      summary:
        'Let a bundle score for its profile, from the next study on, if its reference input scores as recorded',
      parameters: bundleParameters,
      answer: bundleSchema,
      problems: [403, 404, 409],
      async handle({ parameters }) {
        const id = await known(parameters.bundle);
        const verified = verifyBundle(root, id).then(async () => calibrationOf(await openBundle(root, id)));
        await verified.catch((error: unknown) => {
          throw new Problem(409, (error as Error).message);
        });
        return describe(await promote(root, id));
      },
    }),
    route({
      method: 'get',
      path: '/profiles',
      summary: 'Tasks, with the bundles that can do them and the one that does',
      answer: profileListSchema,
      async handle() {
        const { bundles } = await readAll();
        const { rules } = await ruleBook(database);
        const promoted = new Map((await promotions(root)).map(({ profile, id }) => [profile, id]));
        const names = new Set([
          ...bundles.map(({ profile }) => profile.name),
          ...promoted.keys(),
          ...rules.flatMap(({ profile }) => profile ?? []),
        ]);
        return {
          profiles: await Promise.all(
            [...names].sort().map(async (name) => ({
              name,
              promoted: promoted.get(name) ?? null,
              shadow: (await shadowBundle(root, name)) ?? null,
              history: await promotionHistory(root, name),
              bundles: bundles.filter(({ profile }) => profile.name === name).map(({ id }) => id),
              rules: rules.filter(({ profile }) => profile === name).map((rule) => rule.name),
            })),
          ),
        };
      },
    }),
    route({
      method: 'post',
      path: '/profiles/{profile}/rollback',
      summary: 'Let the bundle score again that was promoted before the present one',
      parameters: z.strictObject({ profile: nameSchema }),
      answer: bundleSchema,
      problems: [403, 409],
      async handle({ parameters: { profile } }) {
        const bundle = await rollback(root, profile).catch((error: unknown) => {
          throw new Problem(409, (error as Error).message);
        });
        return describe(bundle);
      },
    }),
  ];
}
