import { z } from 'zod';
import { ruleBook } from '../rules/rule-book.ts';
import { NoStudyError, testRules } from '../rules/test-rules.ts';
import { localArchiveName } from '../store/instance-store.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { answerSchema, route, type Route } from './route.ts';
import { archiveName, uid } from './study-routes.ts';

const rulesStateSchema = answerSchema(
  'Rules',
  z.object({
    /** Of the text in force; `default` where there is none. */
    version: z.string(),
    since: z.iso.datetime().nullable(),
    /** Where they are read from. */
    file: z.string(),
    /** Why what the file holds now is not in force: file, line and reason. */
    problems: z.array(z.string()),
    rules: z.array(z.record(z.string(), z.unknown())),
  }),
);

const conditionOutcomeSchema = z.object({
  attribute: z.string(),
  wanted: z.unknown(),
  /** Values of the study; null where they would name the patient. */
  found: z.array(z.union([z.string(), z.number()])).nullable(),
  holds: z.boolean(),
});

export const rulesTestSchema = answerSchema(
  'RulesTest',
  z.object({
    archive: z.string(),
    studyInstanceUID: z.string(),
    version: z.string(),
    /** The rule that decides; null where none applies. */
    rule: z.string().nullable(),
    /** What would be done; null where the study is not scored. */
    plan: z
      .object({
        bundle: z.string(),
        outputs: z.record(z.string(), z.string()),
        to: z.array(z.string()),
        priority: z.number().int(),
        /** The series that may be scored, of which the bundle's profile takes one. */
        series: z.array(z.string()),
      })
      .nullable(),
    /** Why it is not scored. */
    reason: z.string().nullable(),
    /** When it is complete, where something of it has just arrived. */
    completeAt: z.iso.datetime().nullable(),
    /** Every rule, in the order of the file, with every condition. */
    outcomes: z.array(
      z.object({
        rule: z.string(),
        applies: z.boolean(),
        study: z.array(conditionOutcomeSchema),
        series: z.array(
          z.object({
            seriesInstanceUID: z.string(),
            fits: z.boolean(),
            conditions: z.array(conditionOutcomeSchema),
          }),
        ),
      }),
    ),
  }),
);

/** The rules in force, and what they say of a study. */
export function ruleRoutes({ database, settings, archives, rules }: ApiContext): Route[] {
  return [
    route({
      method: 'get',
      path: '/rules',
      summary: 'The rules in force, and why a changed file was refused',
      answer: rulesStateSchema,
      async handle() {
        const book = await ruleBook(database);
        return { ...book, since: book.since?.toISOString() ?? null, ...rules.state };
      },
    }),
    route({
      method: 'get',
      path: '/rules/test',
      summary: 'What would happen to a study, and why: each rule, each condition',
      query: z.strictObject({ study: uid, archive: archiveName.default(localArchiveName) }),
      answer: rulesTestSchema,
      problems: [404, 502],
      async handle({ query }) {
        const archive = archives.get(query.archive);
        if (!archive) throw new Problem(404, `no archive ${query.archive} in the settings`);
        const book = await ruleBook(database);
        const verdict = await testRules({ database, settings }, book.rules, archive, query.study).catch(
          (error: unknown) => {
            throw new Problem(error instanceof NoStudyError ? 404 : 502, (error as Error).message);
          },
        );
        const { completeAt } = verdict;
        return { ...verdict, version: book.version, completeAt: completeAt?.toISOString() ?? null };
      },
    }),
  ];
}
