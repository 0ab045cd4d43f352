import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PgBoss, type JobWithMetadata } from 'pg-boss';
import { takeArrival } from '../arrival/arrivals.ts';
import type { CompleteStudy } from '../arrival/complete-studies.ts';
import { queueInTransaction, type Database, type Queryable } from '../database/database.ts';
import type { Logger } from '../log.ts';
import type { Settings } from '../settings.ts';
import { findJob, JobError, type Job } from './jobs.ts';
import { queueName } from './queue-name.ts';
import { requestScoring, type StudyInArchive } from './scorings.ts';

/** What a worker does with a scoring; it rejects to have it tried again. */
export type ScoreStudy = (
  scoringID: string,
  attempt: { last: boolean; signal: AbortSignal },
) => Promise<void>;

/** A job ran for longer than the settings allow. */
export class TimeLimitError extends Error {
  override name = 'TimeLimitError';
}

export interface JobQueueOptions {
  database: Database;
  log: Logger;
  settings: Settings['jobs'];
  /** The name of this process among those that take jobs; no other one that runs has it. */
  worker: string;
}

/** The durable queue of studies to score (pg-boss). A job bears the ID of its scoring. */
export class JobQueue {
  readonly #options: JobQueueOptions;
  readonly #boss: PgBoss;
  readonly #stopping = new AbortController();
  /** The job that runs, or ran last. */
  #running: Promise<void> = Promise.resolve();

  private constructor(options: JobQueueOptions, boss: PgBoss) {
    this.#options = options;
    this.#boss = boss;
  }

  /** Opens the queue's tables. Jobs that this process left running when it was killed are put back at once. */
  static async open(options: JobQueueOptions): Promise<JobQueue> {
    const { database, log, settings, worker } = options;
    const supervise = Math.max(1, Math.round(settings.heartbeatSeconds / 2));
    const boss = new PgBoss({
      ...database.queueOptions,
      schedule: false,
      superviseIntervalSeconds: supervise,
      monitorIntervalSeconds: supervise,
    });
    boss.on('error', (error) => {
      log.error({ error }, 'job queue');
    });
    await boss.start();
    // An archive may be away for a night: with these delays a job is tried for more than sixteen hours.
    await boss.createQueue(queueName, {
      retryLimit: 200,
      retryDelay: 2,
      retryBackoff: true,
      retryDelayMax: 300,
    });
    // Lets pg-boss look the queue up now: within a transaction, PGlite's one connection is taken.
    await boss.findJobs(queueName, { id: randomUUID() });
    const left = await database.query<{ id: string }>(
      `select job.id from pgboss.job left join scoring using (id)
       where job.name = $1 and job.state = 'active' and ($2 or scoring.worker = $3)`,
      [queueName, database.embedded, worker],
    );
    for (const { id } of left) {
      log.warn({ scoring: id }, 'the process ended while this job ran; it is tried again');
      await boss.fail(queueName, id, { message: 'the process ended' });
    }
    return new JobQueue(options, boss);
  }

  /** Starts taking jobs, one at a time. */
  async work(scoreStudy: ScoreStudy): Promise<void> {
    await this.#boss.work(
      queueName,
      { pollingIntervalSeconds: 0.5, includeMetadata: true },
      async (jobs: JobWithMetadata[]) => {
        for (const job of jobs) {
          await this.#running.catch(() => undefined); // one that lost its claim may not have noticed yet
          this.#running = this.#run(job, scoreStudy);
          await this.#running;
        }
      },
    );
  }

  async #run(job: JobWithMetadata, scoreStudy: ScoreStudy): Promise<void> {
    const { timeLimitSeconds } = this.#options.settings;
    const limit = new AbortController();
    const timer = setTimeout(() => {
      limit.abort(new TimeLimitError(`took longer than ${timeLimitSeconds} s`));
    }, timeLimitSeconds * 1000);
    try {
      await scoreStudy(job.id, {
        last: job.retryCount >= job.retryLimit,
        signal: AbortSignal.any([job.signal, this.#stopping.signal, limit.signal]),
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Asks for a study to be scored; nothing new where it waits already. The job comes to be in the transaction, or
   * not at all.
   *
   * @param options.priority jobs of higher priority go first; 0 if left out.
   * @returns the job's ID, or undefined where the study waits already.
   */
  async request(
    transaction: Queryable,
    study: StudyInArchive,
    options: { id?: string; priority?: number; requestedAt?: Date; sourceAETitle?: string | null } = {},
  ): Promise<string | undefined> {
    const { priority = 0, requestedAt = new Date(), sourceAETitle = null } = options;
    const id = await requestScoring(
      transaction,
      study,
      requestedAt,
      priority,
      sourceAETitle,
      options.id ?? null,
    );
    if (id !== undefined) await this.#send(transaction, id, priority);
    return id;
  }

  /** Makes a job of a study that is complete, unless more of it arrives this moment. */
  async enqueue({ arrival, priority }: CompleteStudy): Promise<void> {
    const { database, log } = this.#options;
    await database.transaction(async (transaction) => {
      if (!(await takeArrival(transaction, arrival))) return;
      const { archive, studyInstanceUID, sourceAETitle, scoringID } = arrival;
      const id = await this.request(transaction, arrival, { id: scoringID, priority, sourceAETitle });
      if (id === undefined) {
        log.info({ scoring: scoringID, archive, studyInstanceUID }, 'study waits to be scored already');
        return;
      }
      log.info({ scoring: id, archive, studyInstanceUID }, 'study is complete and waits to be scored');
    });
  }

  /**
   * Queues a job again that failed or was cancelled, from its first attempt.
   *
   * @throws JobError if there is no such job, or it is in another state.
   */
  async retry(id: string): Promise<Job> {
    return this.#options.database.transaction(async (transaction) => {
      const job = await this.#lock(transaction, id);
      if (job.state !== 'failed' && job.state !== 'cancelled') {
        throw new JobError(
          'state',
          `job ${id} is ${job.state}: only failed and cancelled ones can be retried`,
        );
      }
      await transaction.query(
        `update scoring set state = 'queued', step = null, reason = null, finished_at = null, crashes = 0, run = null
         where id = $1`,
        [id],
      );
      await this.#send(transaction, id, job.priority);
      return (await findJob(transaction, id))!;
    });
  }

  /**
   * Cancels a job that waits or runs; one that runs ends before its next step.
   *
   * @throws JobError if there is no such job, or it has come to its end.
   */
  async cancel(id: string): Promise<Job> {
    return this.#options.database.transaction(async (transaction) => {
      const job = await this.#lock(transaction, id);
      if (job.state !== 'queued' && job.state !== 'running') {
        throw new JobError(
          'state',
          `job ${id} is ${job.state}: only one that waits or runs can be cancelled`,
        );
      }
      await transaction.query(
        `update scoring set state = 'cancelled', reason = 'cancelled', finished_at = now(), run = null
         where id = $1`,
        [id],
      );
      await this.#boss.cancel(queueName, id, { db: queueInTransaction(transaction) });
      return (await findJob(transaction, id))!;
    });
  }

  /**
   * Gives a job that waits another priority, and lets it be tried at once.
   *
   * @throws JobError if there is no such job, or it does not wait.
   */
  async prioritise(id: string, priority: number): Promise<Job> {
    return this.#options.database.transaction(async (transaction) => {
      const job = await this.#lock(transaction, id);
      if (job.state !== 'queued') {
        throw new JobError(
          'state',
          `job ${id} is ${job.state}: only one that waits can have another priority`,
        );
      }
      await transaction.query('update scoring set priority = $2 where id = $1', [id, priority]);
      await this.#send(transaction, id, priority);
      return (await findJob(transaction, id))!;
    });
  }

  /** Queues unfinished scorings again that the queue knows nothing of; returns how many. */
  async recoverLost(): Promise<number> {
    const { database, log } = this.#options;
    return database.transaction(async (transaction) => {
      const lost = await transaction.query<{ id: string; priority: number }>(
        `select id, priority from scoring
         where state in ('queued', 'running') and not exists (
           select 1 from pgboss.job where name = $1 and job.id = scoring.id and job.state < 'completed')
         for update skip locked`,
        [queueName],
      );
      for (const { id, priority } of lost) {
        await this.#send(transaction, id, priority);
        log.warn({ scoring: id }, 'the queue had lost this job; it is queued again');
      }
      return lost.length;
    });
  }

  /** Stops taking jobs and breaks off the one that runs; it is tried again at the next start. */
  async close(timeoutMs: number): Promise<void> {
    this.#stopping.abort(new Error('the node is stopping'));
    await this.#boss.stop({ graceful: true, timeout: timeoutMs });
    await Promise.race([this.#running.catch(() => undefined), sleep(timeoutMs, undefined, { ref: false })]);
  }

  async #lock(transaction: Queryable, id: string): Promise<Job> {
    if (!(await findJob(transaction, id))) throw new JobError('unknown', `no job ${id}`);
    await transaction.query('select 1 from scoring where id = $1 for update', [id]);
    return (await findJob(transaction, id))!;
  }

  async #send(transaction: Queryable, id: string, priority: number): Promise<void> {
    const { timeLimitSeconds, heartbeatSeconds } = this.#options.settings;
    const db = queueInTransaction(transaction);
    await this.#boss.deleteJob(queueName, id, { db });
    await this.#boss.send(queueName, null, {
      db,
      id,
      priority,
      expireInSeconds: Math.ceil(timeLimitSeconds) + 600, // beyond the limit that we keep ourselves
      heartbeatSeconds,
    });
  }
}
