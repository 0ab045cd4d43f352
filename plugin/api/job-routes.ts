import { z } from 'zod';
import { findJob, JobError, listJobs, type Job } from '../jobs/jobs.ts';
import { isSearchable } from '../archive/archive.ts';
import { QueryError } from '../dicomweb/query.ts';
import { backfill, type RequestOptions } from '../jobs/backfill.ts';
import { rescore } from '../jobs/rescore.ts';
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

const requestedSchema = answerSchema(
  'RequestedStudies',
  z.object({
    /** Studies that were looked at. */
    found: z.number().int(),
    /** Those that wait to be scored now, or would: StudyInstanceUIDs. */
    studies: z.array(z.string()),
  }),
);

/** Higher goes first. */
const priority = z.number().int().min(-1000).max(1000);

/** Keys of a request for many studies. They give way to what arrives. */
const requestOptions = {
  limit: z.number().int().min(1).max(100_000),
  priority: priority.default(-10),
  dryRun: z.boolean().default(false),
} satisfies Record<keyof RequestOptions, z.ZodType>;

const jobParameters = z.strictObject({ job: z.uuid() });

/** What is done, or not, about each study; those that failed are the dead letters. */
export function jobRoutes({ database, queue, archives }: ApiContext): Route[] {
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
    route({
      method: 'post',
      path: '/jobs/{job}/priority',
      summary: 'Let a job that waits go before others, or after them',
      parameters: jobParameters,
      body: z.strictObject({ priority }),
      answer: jobSchema,
      problems: [403, 404, 409, 415],
      handle: ({ parameters: { job }, body }) => change(queue.prioritise(job, body.priority)),
    }),
    route({
      method: 'post',
      path: '/backfill',
      summary: 'Score studies of an archive that match a QIDO-RS query and were never asked to be scored',
      body: z.strictObject({
        archive: z.string(),
        /** Matching keys by keyword or tag. */
        query: z.record(z.string(), z.string()),
        ...requestOptions,
      }),
      answer: requestedSchema,
      problems: [403, 404, 415, 502],
      handle: async ({ body: { archive: name, query, ...options } }) => {
        const archive = archives.get(name);
        if (!isSearchable(archive))
          throw new Problem(404, `there is no archive ${name} that can be searched`);
        return backfill(database, queue, archive, query, options).catch((error: unknown) => {
          throw new Problem(error instanceof QueryError ? 400 : 502, (error as Error).message);
        });
      },
    }),
    route({
      method: 'post',
      path: '/rescore',
      summary: 'Score studies again whose last scoring has come to its end',
      body: z.strictObject({
        archive: z.string().optional(),
        /** StudyInstanceUIDs. */
        studies: z.array(uid).optional(),
        /** ID of the bundle that they were scored with last. */
        bundle: z.string().optional(),
        ...requestOptions,
      }),
      answer: requestedSchema,
      problems: [403, 415],
      handle: ({ body: { archive, studies, bundle, ...options } }) =>
        rescore(database, queue, { archive, studies, bundle }, options),
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
