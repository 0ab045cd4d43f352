import { z } from 'zod';
import { measureDrift } from '../drift/drift.ts';
import type { ApiContext } from './context.ts';
import { answerSchema, route, type Route } from './route.ts';

const driftSchema = answerSchema(
  'Drift',
  z.object({
    /** Days that are looked back. */
    days: z.number(),
    bundles: z.array(
      z.object({
        profile: z.string(),
        bundle: z.string(),
        /** Studies scored, without those that a reader judged abnormal or spoilt. */
        studies: z.number().int(),
        calibrationStudies: z.number().int(),
        /** Share of the studies that is flagged, as a fraction. */
        flagged: z.number(),
        /** The share of normal studies that calibration lets be flagged. */
        alpha: z.number(),
        /** 50 where nothing has changed. */
        medianPercentile: z.number(),
        /** Two-sample Kolmogorov–Smirnov test; null: too few studies. */
        test: z.object({ statistic: z.number(), pValue: z.number() }).nullable(),
        alert: z.boolean(),
      }),
    ),
  }),
);

/** Whether the scores of late still fit their calibration. */
export function driftRoutes({ database, settings }: ApiContext): Route[] {
  return [
    route({
      method: 'get',
      path: '/drift',
      summary: 'Scores of late against those of the calibration',
      answer: driftSchema,
      handle: async () => ({
        days: settings.drift.days,
        bundles: await measureDrift(database, settings.data, settings.drift),
      }),
    }),
  ];
}
