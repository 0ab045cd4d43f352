import type { Queryable } from '../database/database.ts';
import { queueName } from './queue-name.ts';
import type { ScoringState } from './scorings.ts';

/** What is done, or not, about one study: a scoring, with what the queue knows of it. */
export interface Job {
  id: string;
  archive: string;
  studyInstanceUID: string;
  state: ScoringState;
  /** The step that runs, or that failed. */
  step: string | null;
  /** Why it failed, was not scored, or waits for its next attempt. */
  reason: string | null;
  /** Higher goes first. */
  priority: number;
  /** The process that ran it last. */
  worker: string | null;
  bundle: string | null;
  requestedAt: Date;
  finishedAt: Date | null;
  /** Attempts that failed, since it was queued or retried. */
  failedAttempts: number;
  /** When it is tried next, where it waits. */
  nextAttemptAt: Date | null;
}

/** Which jobs are listed. */
export interface JobFilter {
  states?: ScoringState[];
  studyInstanceUID?: string;
  /** At most so many. */
  limit: number;
  /** As many are passed over. */
  offset?: number;
}

/** A job that cannot be had or changed as asked. */
export class JobError extends Error {
  override name = 'JobError';
  readonly reason: 'unknown' | 'state';

  constructor(reason: 'unknown' | 'state', message: string) {
    super(message);
    this.reason = reason;
  }
}

const selectJobs = `select scoring.id, archive, study_instance_uid as "studyInstanceUID", scoring.state, step,
    reason, scoring.priority, worker, bundle, requested_at as "requestedAt", finished_at as "finishedAt",
    coalesce(job.retry_count, 0) as "failedAttempts",
    case when scoring.state = 'queued' then job.start_after end as "nextAttemptAt"
  from scoring left join pgboss.job on job.name = '${queueName}' and job.id = scoring.id`;

/** Jobs, the newest first; those that failed are the dead letters. Needs the queue's tables (`JobQueue.open`). */
export async function listJobs(on: Queryable, filter: JobFilter): Promise<Job[]> {
  return on.query<Job>(
    `${selectJobs}
     where ($1::text[] is null or scoring.state = any($1)) and ($2::text is null or study_instance_uid = $2)
     order by requested_at desc, scoring.id limit $3 offset $4`,
    [filter.states ?? null, filter.studyInstanceUID ?? null, filter.limit, filter.offset ?? 0],
  );
}

/** The job of an ID; undefined where there is none, or it was dropped because it had nothing new to score. */
export async function findJob(on: Queryable, id: string): Promise<Job | undefined> {
  if (!UUID.test(id)) return undefined;
  const [job] = await on.query<Job>(`${selectJobs} where scoring.id = $1`, [id]);
  return job;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
