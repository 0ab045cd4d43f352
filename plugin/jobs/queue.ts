import { PgBoss, type JobWithMetadata } from 'pg-boss';
import { quietStudies, takeArrival } from '../arrival/arrivals.ts';
import { queueInTransaction, type Database } from '../database/database.ts';
import type { Logger } from '../log.ts';
import { noteCrash, requestScoring } from './scorings.ts';

const queueName = 'score-study';

/** A job of the queue: one scoring. */
interface ScoreStudyJob {
  scoringID: string;
}

/** What a worker does with a scoring; it rejects to have it tried again. */
export type ScoreStudy = (
  scoringID: string,
  attempt: { last: boolean; signal: AbortSignal },
) => Promise<void>;

/**
 * A study during which the process ended so many times is not tried again: it may be what ends it. Not fewer, since
 * power cuts and restarts count as well.
 */
const crashLimit = 10;

/** The durable queue of studies to score (pg-boss). */
export class JobQueue {
  readonly #database: Database;
  readonly #boss: PgBoss;
  readonly #log: Logger;
  readonly #stopping = new AbortController();

  private constructor(database: Database, boss: PgBoss, log: Logger) {
    this.#database = database;
    this.#boss = boss;
    this.#log = log;
  }

  /** Opens the queue's tables. Jobs that a killed process left running are put back at once. */
  static async open(database: Database, log: Logger): Promise<JobQueue> {
    const boss = new PgBoss({ ...database.queueOptions, schedule: false });
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
      expireInSeconds: 24 * 3600 - 1,
    });
    const left = await boss.findJobs<ScoreStudyJob>(queueName);
    for (const job of left.filter(({ state }) => state === 'active')) {
      const { scoringID } = job.data;
      const failed = await noteCrash(database, scoringID, crashLimit);
      log.warn(
        { scoring: scoringID },
        `the process ended while this job ran; it ${failed ? 'has failed' : 'is tried again'}`,
      );
      await boss.fail(queueName, job.id, { message: 'the process ended' });
    }
    return new JobQueue(database, boss, log);
  }

  /** Starts taking jobs, one at a time. */
  async work(scoreStudy: ScoreStudy): Promise<void> {
    await this.#boss.work(
      queueName,
      { pollingIntervalSeconds: 0.5, includeMetadata: true },
      async (jobs: JobWithMetadata<ScoreStudyJob>[]) => {
        for (const job of jobs) {
          const last = job.retryCount >= job.retryLimit;
          const signal = AbortSignal.any([job.signal, this.#stopping.signal]);
          await scoreStudy(job.data.scoringID, { last, signal });
        }
      },
    );
  }

  /** Makes a job of each study that has been quiet for `quietSeconds`. */
  async enqueueQuietStudies(quietSeconds: number): Promise<void> {
    for (const study of await quietStudies(this.#database, quietSeconds)) {
      await this.#database.transaction(async (transaction) => {
        if (!(await takeArrival(transaction, study))) return;
        const id = await requestScoring(transaction, study.archive, study.studyInstanceUID, new Date());
        if (id === undefined) return;
        await this.#boss.send(queueName, { scoringID: id }, { db: queueInTransaction(transaction) });
        this.#log.info(
          { scoring: id, archive: study.archive, studyInstanceUID: study.studyInstanceUID },
          'study is complete and waits to be scored',
        );
      });
    }
  }

  /** Stops taking jobs and breaks off the one that runs; it is tried again at the next start. */
  async close(timeoutMs: number): Promise<void> {
    this.#stopping.abort(new Error('the node is stopping'));
    await this.#boss.stop({ graceful: true, timeout: timeoutMs });
  }
}
