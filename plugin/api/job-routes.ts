import { z } from 'zod';
import { findJob, JobError, listJobs, type Job } from '../jobs/jobs.ts';
import { scoringStates } from '../jobs/scorings.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { answerSchema, route, type Route } from './route.ts';
import { oneOf, uid, wholeNumber } from './study-routes.ts';

/** Jobs that one answer holds at most. */
const pageLimit = 500;

const time = z.iso.datetime();

const jobSchema = answerSchema(
  'Job',
  z.object({
    id: z.uuid(),
    archive: z.string(),
    studyInstanceUID: z.string(),
    state: z.enum(scoringStates),
    /** The step that runs, or that failed. */
    step: z.string().nullable(),
    /** Why it failed, was not scored, or waits for its next attempt. */
    reason: z.string().nullable(),
    /** Higher goes first. */
    priority: z.number().int(),
    /** The process that ran it last. */
    worker: z.string().nullable(),
    bundle: z.string().nullable(),
    requestedAt: time,
    finishedAt: time.nullable(),
    /** Attempts that failed, since it was queued or retried. */
    failedAttempts: z.number().int(),
    /** When it is tried next, where it waits. */
    nextAttemptAt: time.nullable(),
  }),
);

const jobParameters = z.strictObject({ job: z.uuid() });

/** What is done, or not, about each study; those that failed are the dead letters. */
export function jobRoutes({ database, queue }: ApiContext): Route[] {
  const change = async (action: Promise<Job>) =>
    describe(
      await action.catch((error: unknown) => {
        if (!(error instanceof JobError)) throw error;
        throw new Problem(error.reason === 'unknown' ? 404 : 409, error.message);
      }),
    );
  return [
    route({
      method: 'get',
      path: '/jobs',
      summary: 'Jobs, the newest first',
      query: z.strictObject({
        state: oneOf(scoringStates).optional(),
        study: uid.optional(),
        limit: wholeNumber
          .pipe(z.number().min(1, 'from 1').max(pageLimit, `at most ${pageLimit}`))
          .default(100),
        offset: wholeNumber.default(0),
      }),
      answer: answerSchema('JobPage', z.object({ jobs: z.array(jobSchema) })),
      async handle({ query: { state, study, limit, offset } }) {
        const filter = {
          limit,
          offset,
          ...(state && { states: state }),
          ...(study !== undefined && { studyInstanceUID: study }),
        };
        return { jobs: (await listJobs(database, filter)).map(describe) };
      },
    }),
    route({
      method: 'get',
      path: '/jobs/{job}',
      summary: 'A job',
      parameters: jobParameters,
      answer: jobSchema,
      problems: [404],
      async handle({ parameters: { job: id } }) {
        const job = await findJob(database, id);
        if (!job) throw new Problem(404, `no job ${id}`);
        return describe(job);
      },
    }),
    route({
      method: 'post',
      path: '/jobs/{job}/retry',
      summary: 'Queue a job again that failed or was cancelled',
      parameters: jobParameters,
      answer: jobSchema,
      problems: [403, 404, 409],
      handle: ({ parameters: { job } }) => change(queue.retry(job)),
    }),
    route({
      method: 'post',
      path: '/jobs/{job}/cancel',
      summary: 'Cancel a job that waits or runs; one that runs ends before its next step',
      parameters: jobParameters,
      answer: jobSchema,
      problems: [403, 404, 409],
      handle: ({ parameters: { job } }) => change(queue.cancel(job)),
    }),
  ];
}

function describe({ requestedAt, finishedAt, nextAttemptAt, ...job }: Job) {
  return {
    ...job,
    requestedAt: requestedAt.toISOString(),
    finishedAt: finishedAt?.toISOString() ?? null,
    nextAttemptAt: nextAttemptAt?.toISOString() ?? null,
  };
}
