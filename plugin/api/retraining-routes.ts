import { z } from 'zod';
import { listRetrainings, retrainingStates, type Retraining } from '../retraining/retrainings.ts';
import { ScheduleError, type ScheduleState } from '../retraining/schedule.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { answerSchema, route, type Route } from './route.ts';

/** Retrainings that one answer holds at most, and as many firings that were skipped. */
const shown = 50;

const time = z.iso.datetime();

const retrainingSchema = answerSchema(
  'Retraining',
  z.object({
    id: z.string(),
    schedule: z.string(),
    profile: z.string(),
    /** When the schedule fired, or somebody asked. */
    dueAt: time,
    state: z.enum(retrainingStates),
    attempt: z.number().int(),
    /** Why it was skipped, failed, or made a candidate only. */
    reason: z.string().nullable(),
    bundle: z.string().nullable(),
    outcome: z.enum(['promoted', 'candidate']).nullable(),
    finishedAt: time.nullable(),
  }),
);

const scheduleSchema = answerSchema(
  'Schedule',
  z.object({
    name: z.string(),
    profile: z.string(),
    cron: z.string(),
    timezone: z.string(),
    paused: z.boolean(),
    /** Null while it is paused. */
    next: time.nullable(),
    last: retrainingSchema.nullable(),
  }),
);

const parameters = z.strictObject({ schedule: z.string().regex(/^[a-z0-9-]{1,100}$/, 'not a schedule') });

/** Schedules of retraining, and what came of them. */
export function retrainingRoutes({ database, schedule }: ApiContext): Route[] {
  const answered = async <T>(action: Promise<T>): Promise<T> =>
    action.catch((error: unknown) => {
      if (!(error instanceof ScheduleError)) throw error;
      throw new Problem(error.reason === 'unknown' ? 404 : 409, error.message);
    });
  const pausing = (action: 'pause' | 'resume', summary: string) =>
    route({
      method: 'post',
      path: `/schedules/{schedule}/${action}`,
      summary,
      parameters,
      answer: scheduleSchema,
      problems: [403, 404],
      handle: async ({ parameters: { schedule: name } }) =>
        describeSchedule(await answered(schedule.setPaused(name, action === 'pause'))),
    });
  return [
    route({
      method: 'get',
      path: '/schedules',
      summary: 'When bundles are trained anew, and what came of it last',
      answer: answerSchema('ScheduleList', z.object({ schedules: z.array(scheduleSchema) })),
      handle: async () => ({ schedules: (await schedule.states()).map(describeSchedule) }),
    }),
    route({
      method: 'get',
      path: '/retrainings',
      summary:
        'The last retrainings that schedules started, and the last that they skipped; the newest first',
      answer: answerSchema('RetrainingList', z.object({ retrainings: z.array(retrainingSchema) })),
      handle: async () => {
        // A schedule that fires often is skipped often: what was trained must not vanish behind that.
        const begun = await listRetrainings(database, { skipped: false, limit: shown });
        const skipped = await listRetrainings(database, { state: 'skipped', limit: shown });
        const all = [...begun, ...skipped].sort((a, b) => b.dueAt.getTime() - a.dueAt.getTime());
        return { retrainings: all.map(describeRetraining) };
      },
    }),
    route({
      method: 'post',
      path: '/schedules/{schedule}/run',
      summary: 'Train now',
      parameters,
      answer: retrainingSchema,
      problems: [403, 404, 409],
      handle: async ({ parameters: { schedule: name } }) =>
        describeRetraining(await answered(schedule.runNow(name))),
    }),
    pausing('pause', 'Let a schedule not fire any more'),
    pausing('resume', 'Let a paused schedule fire again'),
  ];
}

function describeSchedule({ next, last, ...state }: ScheduleState) {
  return { ...state, next: next?.toISOString() ?? null, last: last && describeRetraining(last) };
}

function describeRetraining({ dueAt, finishedAt, run: _folder, ...retraining }: Retraining) {
  return { ...retraining, dueAt: dueAt.toISOString(), finishedAt: finishedAt?.toISOString() ?? null };
}
