import { PgBoss, type JobWithMetadata } from 'pg-boss';
import { quietStudies, takeArrival } from '../arrival/arrivals.ts';
import { queueInTransaction, type Database } from '../database/database.ts';
import type { Logger } from '../log.ts';
import { requestScoring } from './scorings.ts';

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

/** The durable queue of studies to score (pg-boss). */
export class JobQueue {
  readonly #database: Database;
  readonly #boss: PgBoss;
  readonly #log: Logger;

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
    await boss.createQueue(queueName, {
      retryLimit: 5,
      retryDelay: 2,
      retryBackoff: true,
      retryDelayMax: 300,
      expireInSeconds: 3600,
    });
    const left = await boss.findJobs<ScoreStudyJob>(queueName);
    for (const job of left.filter(({ state }) => state === 'active')) {
      log.warn({ scoring: job.data.scoringID }, 'the process that ran this job ended; it is tried again');
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
          await scoreStudy(job.data.scoringID, { last, signal: job.signal });
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

  /** Stops taking jobs; the one that runs is given `timeoutMs` to end. */
  async close(timeoutMs: number): Promise<void> {
    await this.#boss.stop({ graceful: true, timeout: timeoutMs });
  }
}
