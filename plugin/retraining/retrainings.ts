import type { Queryable } from '../database/database.ts';
import type { RunResult } from './run-folder.ts';

/** `running` is on its way; the others are ends. */
export const retrainingStates = ['running', 'done', 'skipped', 'failed'] as const;

/** A firing of a schedule, and what came of it. */
export interface Retraining {
  id: string;
  schedule: string;
  profile: string;
  /** When the schedule fired, or somebody asked. */
  dueAt: Date;
  state: (typeof retrainingStates)[number];
  /** From 1; a run that failed is tried once again. */
  attempt: number;
  /** The run's folder, once there is one. */
  run: string | null;
  /** Why it was skipped, failed, or made a candidate only. */
  reason: string | null;
  bundle: string | null;
  outcome: RunResult['outcome'] | null;
  finishedAt: Date | null;
}

const columns = `id::text, schedule, profile, due_at as "dueAt", state, attempt, run, reason, bundle, outcome,
  finished_at as "finishedAt"`;

/** Enters a firing, as skipped where there is a reason; undefined where another process has entered the same one. */
export async function enterRetraining(
  on: Queryable,
  {
    schedule,
    profile,
    dueAt,
    skippedFor = null,
  }: Pick<Retraining, 'schedule' | 'profile' | 'dueAt'> & { skippedFor?: string | null },
): Promise<Retraining | undefined> {
  const rows = await on.query<Retraining>(
    `insert into retraining (schedule, profile, due_at, state, reason, finished_at)
     select $1, $2, $3, case when $4::text is null then 'running' else 'skipped' end, $4,
       case when $4::text is not null then now() end
     on conflict (schedule, due_at) do nothing returning ${columns}`,
    [schedule, profile, dueAt, skippedFor],
  );
  return rows.at(0);
}

/** Writes what changed; the row's end has its time. */
export async function updateRetraining(
  on: Queryable,
  id: string,
  change: Partial<Pick<Retraining, 'state' | 'attempt' | 'run' | 'reason' | 'bundle' | 'outcome'>>,
): Promise<void> {
  const keys = Object.keys(change) as (keyof typeof change)[];
  const assignments = keys.map((key, i) => `${key} = $${i + 2}`);
  if (change.state !== undefined && change.state !== 'running') assignments.push('finished_at = now()');
  await on.query(`update retraining set ${assignments.join(', ')} where id = $1`, [
    id,
    ...keys.map((key) => change[key]),
  ]);
}

/** Retrainings, the newest first; `skipped` false: only those that were begun. */
export async function listRetrainings(
  on: Queryable,
  {
    schedule,
    state,
    skipped = true,
    limit,
  }: { schedule?: string; state?: Retraining['state']; skipped?: boolean; limit: number },
): Promise<Retraining[]> {
  return on.query<Retraining>(
    `select ${columns} from retraining
     where ($1::text is null or schedule = $1) and ($2::text is null or state = $2) and ($4 or state <> 'skipped')
     order by due_at desc, id desc limit $3`,
    [schedule ?? null, state ?? null, limit, skipped],
  );
}

/** The schedules that are paused. */
export async function pausedSchedules(on: Queryable): Promise<Set<string>> {
  const rows = await on.query<{ schedule: string }>('select schedule from paused_schedule');
  return new Set(rows.map(({ schedule }) => schedule));
}

/** Lets a schedule not fire any more, or again. */
export async function setPaused(on: Queryable, schedule: string, paused: boolean): Promise<void> {
  await on.query(
    paused
      ? 'insert into paused_schedule (schedule) values ($1) on conflict do nothing'
      : 'delete from paused_schedule where schedule = $1',
    [schedule],
  );
}
