import { z } from 'zod';
import { nextFiring } from './cron.ts';
import { microBatchDivides, retrainingRequestSchema } from './request.ts';

/** A retraining that is repeated. */
export const scheduleSchema = z
  .strictObject({
    ...retrainingRequestSchema.shape,
    /** Five fields, or six with seconds before them. */
    cron: z.string(),
    timezone: z.string().default('UTC'),
    /** With fewer normal studies of archives that the last run did not have, nothing is done. */
    newStudies: z.number().int().min(0).default(20),
  })
  .refine(...microBatchDivides)
  .superRefine((schedule, context) => {
    try {
      nextFiring(schedule, new Date());
    } catch (error) {
      context.addIssue({ code: 'custom', path: ['cron'], message: (error as Error).message });
    }
  });

export type ScheduleSettings = z.infer<typeof scheduleSchema>;
