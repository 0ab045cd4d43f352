import type { Response } from 'express';
import { z } from 'zod';
import { identityOf } from '../access/guard.ts';
import type { Queryable } from '../database/database.ts';
import {
  feedbackHistory,
  feedbackLabels,
  giveFeedback,
  judgementSchema,
  studiesJudged,
  type Feedback,
} from '../feedback/feedback.ts';
import { scoringsOfStudy, scoringStates, sliceScores, type Scoring } from '../jobs/scorings.ts';
import { shadowScoresOf } from '../retraining/shadow-scores.ts';
import { viewerRoots } from '../viewer/configuration.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { answerSchema, route, type Route } from './route.ts';
import { worklist, worklistOrders, type WorklistRow } from './worklist.ts';

/** Studies that one answer holds at most. */
const pageLimit = 500;

const time = z.iso.datetime({ offset: true });

export const scoreSchema = answerSchema(
  'Score',
  z.object({
    rawScore: z.number(),
    pValue: z.number(),
    percentile: z.number(),
    threshold: z.number(),
    flagged: z.boolean(),
  }),
);

const feedbackSchema = answerSchema(
  'Feedback',
  z.object({
    label: z.enum(feedbackLabels),
    reader: z.string(),
    comment: z.string().nullable(),
    givenAt: time,
  }),
);

const scoringFields = {
  status: z.enum(scoringStates),
  /** Of its job; higher goes first. */
  priority: z.number().int(),
  /** The step that runs, or that failed. */
  step: z.string().nullable(),
  reason: z.string().nullable(),
  bundle: z.string().nullable(),
  profile: z.string().nullable(),
  /** The rule that decided. */
  rule: z.string().nullable(),
  score: scoreSchema.nullable(),
  requestedAt: time,
  finishedAt: time.nullable(),
};

const studyFields = {
  archive: z.string(),
  studyInstanceUID: z.string(),
  ...scoringFields,
  /** What was scored, as its headers say; what they do not say is left out. */
  subject: z
    .object({
      modality: z.string().optional(),
      studyDate: z.string().optional(),
      studyDescription: z.string().optional(),
      seriesDescription: z.string().optional(),
      seriesInstanceUID: z.string().optional(),
    })
    .nullable(),
  feedback: feedbackSchema.nullable(),
  /** The objects of the result; with their path at the node, where it can read the archive that holds them. */
  results: z.array(
    z.object({
      sopInstanceUID: z.string(),
      seriesInstanceUID: z.string(),
      sopClassUID: z.string(),
      url: z.string().optional(),
    }),
  ),
  /** The newest scoring, where it is newer than what is shown: it is on its way, or came to nothing. */
  next: z
    .object({
      status: z.enum(scoringStates),
      step: z.string().nullable(),
      reason: z.string().nullable(),
      requestedAt: time,
    })
    .nullable(),
};

const studyPageSchema = answerSchema(
  'StudyPage',
  z.object({
    studies: z.array(answerSchema('Study', z.object(studyFields))),
    /** Of all pages. */
    total: z.number().int(),
    limit: z.number().int(),
    offset: z.number().int(),
  }),
);

/** A scored slice. */
export const sliceFields = {
  sopInstanceUID: z.string(),
  /** Counted from 1. */
  frame: z.number().int(),
  rows: z.number().int(),
  columns: z.number().int(),
  /** Along the slice normal, in millimetres. */
  position: z.number().nullable(),
  score: scoreSchema,
};

const studyDetailSchema = answerSchema(
  'StudyDetail',
  z.object({
    ...studyFields,
    /** Every judgement, the last one first. */
    feedbackHistory: z.array(feedbackSchema),
    /** Every scoring, the newest first. */
    scorings: z.array(z.object({ id: z.uuid(), ...scoringFields })),
    /** What candidates said in shadow, the newest first; they write nothing. */
    shadow: z.array(z.object({ bundle: z.string(), score: scoreSchema, scoredAt: time })),
    /** Of the result shown, in slice order. */
    slices: z.array(answerSchema('SliceScore', z.object(sliceFields))),
  }),
);

const judgedStudiesSchema = answerSchema(
  'JudgedStudies',
  z.object({
    studies: z.array(z.object({ archive: z.string(), studyInstanceUID: z.string(), givenAt: time })),
  }),
);

export const uid = z.string().regex(/^[0-9.]{1,64}$/, 'not a UID');
export const archiveName = z.string().regex(/^[\w-]{1,64}$/, 'not the name of an archive');
const studyParameters = z.strictObject({ archive: archiveName, study: uid });

export const wholeNumber = z
  .string()
  .regex(/^\d{1,9}$/, 'not a whole number')
  .transform(Number);
export const oneOf = <Value extends string>(values: readonly Value[]) =>
  z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(values)));
const names = z
  .string()
  .regex(/^[\w ,.@-]{1,500}$/, 'names, separated by commas')
  .transform((text) => text.split(','));

/** Lists are separated by commas. */
const worklistQuery = z.strictObject({
  archive: archiveName.optional(),
  study: uid.optional(),
  status: oneOf(scoringStates).optional(),
  flagged: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional(),
  modality: names.optional(),
  profile: names.optional(),
  feedback: oneOf(['none', ...feedbackLabels.filter((label) => label !== 'withdrawn')]).optional(),
  requestedFrom: time.optional(),
  requestedTo: time.optional(),
  studyDateFrom: z.iso.date().optional(),
  studyDateTo: z.iso.date().optional(),
  sort: z.enum(Object.keys(worklistOrders) as (keyof typeof worklistOrders)[]).default('percentile'),
  limit: wholeNumber.pipe(z.number().min(1, 'from 1').max(pageLimit, `at most ${pageLimit}`)).default(100),
  offset: wholeNumber.default(0),
});

/** Studies with their scores, and what readers say of them. */
export function studyRoutes({ archives, authentication, database }: ApiContext): Route[] {
  const roots = viewerRoots(archives, {}); // through the node: pictures of other origins are none of the dashboard's
  const describe = (row: WorklistRow) => describeStudy(row, roots);
  return [
    route({
      method: 'get',
      path: '/studies',
      summary: 'The worklist: studies with their scores, the most abnormal first',
      query: worklistQuery,
      answer: studyPageSchema,
      async handle({ query: { sort, limit, offset, ...filter } }) {
        const { rows, total } = await worklist(database, filter, sort, limit, offset);
        return { studies: rows.map(describe), total, limit, offset };
      },
    }),
    route({
      method: 'get',
      path: '/studies/{archive}/{study}',
      summary: 'A study with its slices, its scorings and what readers said',
      parameters: studyParameters,
      answer: studyDetailSchema,
      problems: [404],
      async handle({ parameters: { archive, study } }) {
        const row = await findStudy(database, archive, study);
        const scorings = await scoringsOfStudy(database, row);
        return {
          ...describe(row),
          feedbackHistory: (await feedbackHistory(database, row)).map(describeFeedback),
          scorings: scorings.map((scoring) => ({ id: scoring.id, ...describeScoring(scoring) })),
          shadow: (await shadowScoresOf(database, row)).map(({ scoredAt, ...shadow }) => ({
            ...{ ...shadow, scoredAt: scoredAt.toISOString() },
          })),
          slices: await sliceScores(database, row.id),
        };
      },
    }),
    route({
      method: 'get',
      path: '/feedback',
      summary: 'The studies of which readers said this last, the earliest first',
      query: z.strictObject({ label: z.enum(feedbackLabels) }),
      answer: judgedStudiesSchema,
      async handle({ query: { label } }) {
        const studies = await studiesJudged(database, label);
        return {
          studies: studies.map(({ archive, studyInstanceUID, givenAt }) => ({
            ...{ archive, studyInstanceUID, givenAt: givenAt.toISOString() },
          })),
        };
      },
    }),
    route({
      method: 'post',
      path: '/studies/{archive}/{study}/feedback',
      summary: 'Say that a study is normal, abnormal or spoilt by an artefact; the last judgement counts',
      parameters: studyParameters,
      body: judgementSchema,
      answer: feedbackSchema,
      problems: [403, 404, 415],
      async handle({ parameters: { archive, study }, body, response }) {
        const reader = readerOf(body.reader, authentication, response);
        const found = await findStudy(database, archive, study);
        return describeFeedback(await giveFeedback(database, found, { ...body, reader }));
      },
    }),
  ];
}

/**
 * Who judges: where one has to sign in, nobody but who has.
 *
 * @throws Problem 400 if nobody is named, 403 if another is.
 */
function readerOf(claimed: string | undefined, authentication: boolean, response: Response): string {
  const reader = authentication ? identityOf(response)?.name : claimed;
  if (reader === undefined) throw new Problem(400, 'body.reader: say who reads');
  if (claimed !== undefined && claimed !== reader) {
    throw new Problem(403, `body.reader: is who has signed in, ${reader}; leave it out`);
  }
  return reader;
}

/** @throws Problem 404 */
export async function findStudy(on: Queryable, archive: string, study: string): Promise<WorklistRow> {
  const { rows } = await worklist(on, { archive, study }, 'newest', 1, 0);
  if (rows.length === 0)
    throw new Problem(404, `archive ${archive} has no study ${study} that was to be scored`);
  return rows[0];
}

/** Without anything that names the patient. */
function describeStudy(
  row: WorklistRow,
  roots: ReadonlyMap<string, string>,
): z.input<(typeof studyPageSchema)['shape']['studies']>[number] {
  const { archive, studyInstanceUID, subject, feedback, results, next } = row;
  return {
    archive,
    studyInstanceUID,
    ...describeScoring(row),
    subject,
    feedback: feedback && { ...feedback, givenAt: new Date(feedback.givenAt).toISOString() },
    results: results.map(({ archive, ...object }) => {
      const root = roots.get(archive);
      const { seriesInstanceUID, sopInstanceUID } = object;
      const path = `studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
      return { ...object, ...(root !== undefined && { url: `${root}/${path}` }) };
    }),
    next: next && { ...next, requestedAt: new Date(next.requestedAt).toISOString() },
  };
}

function describeScoring(scoring: Scoring) {
  const { state, priority, step, reason, bundle, profile, rule, score, requestedAt, finishedAt } = scoring;
  return {
    status: state,
    priority,
    step,
    reason,
    bundle,
    profile,
    rule,
    score,
    requestedAt: requestedAt.toISOString(),
    finishedAt: finishedAt?.toISOString() ?? null,
  };
}

function describeFeedback({ givenAt, ...feedback }: Feedback) {
  return { ...feedback, givenAt: givenAt.toISOString() };
}
