import { setTimeout as sleep } from 'node:timers/promises';
import type { RequestHandler } from 'express';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RuntimeChoice } from '../../inference/provider-choice.ts';
import type { Database } from '../database/database.ts';
import type { EventFeed } from '../events/event-feed.ts';
import { presentPosition } from '../events/event-log.ts';
import { scoringStates } from '../jobs/scorings.ts';
import type { Logger } from '../log.ts';

/** Between two looks at the events where nothing happens. */
const idleMs = 60_000;
const retryMs = 5000;

/** Seconds: from a look at an archive to a large volume on a CPU. */
const stageBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/** What an event of a scoring holds, as the database enters it. */
interface ScoringEvent {
  scoring: string;
  status: string;
  step: string | null;
}

/**
 * What the node measures of itself, as Prometheus reads it. Names of patients, and UIDs, are in none of it. Stages
 * and errors come from the events of the database, so those of workers on other machines count too.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #stages: Histogram<'stage'>;
  readonly #errors: Counter<'step'>;
  readonly #finished: Counter<'state' | 'profile'>;
  readonly #percentiles: Histogram<'profile'>;
  readonly #flagged: Counter<'profile'>;
  readonly #requests: Counter<'method' | 'status'>;
  readonly #database: Database;
  /** The step that a running scoring is in, and since when. */
  readonly #running = new Map<string, { step: string; since: Date }>();

  constructor(database: Database, { provider, precision }: Pick<RuntimeChoice, 'provider' | 'precision'>) {
    this.#database = database;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    new Gauge({
      name: 'qfae_execution_provider',
      help: 'What the model runs on, in this process',
      labelNames: ['provider', 'precision'],
      registers,
    }).set({ provider, precision }, 1);
    new Gauge({
      name: 'qfae_jobs',
      help: 'Scoring jobs by state',
      labelNames: ['state'],
      registers,
      async collect() {
        const counts = await database.query<{ state: string; count: number }>(
          'select state, count(*)::integer as count from scoring group by state',
        );
        for (const state of scoringStates) this.set({ state }, 0);
        for (const { state, count } of counts) this.set({ state }, count);
      },
    });
    const age = (name: string, help: string, sql: string) =>
      new Gauge({
        name,
        help,
        registers,
        async collect() {
          const [row] = await database.query<{ value: number | null }>(sql);
          this.set(row.value ?? 0);
        },
      });
    age(
      'qfae_oldest_job_seconds',
      'Age of the oldest job that waits or runs',
      `select extract(epoch from now() - min(requested_at))::float as value from scoring
       where state in ('queued', 'running')`,
    );
    age(
      'qfae_arriving_studies',
      'Studies that are not complete yet',
      'select count(*)::float as value from arrival',
    );
    this.#stages = new Histogram({
      name: 'qfae_stage_seconds',
      help: 'Time in each step of scoring a study',
      labelNames: ['stage'],
      buckets: stageBuckets,
      registers,
    });
    this.#errors = new Counter({
      name: 'qfae_errors_total',
      help: 'Attempts that failed, by step',
      labelNames: ['step'],
      registers,
    });
    this.#finished = new Counter({
      name: 'qfae_studies_total',
      help: 'Studies that came to an end, by state and profile',
      labelNames: ['state', 'profile'],
      registers,
    });
    this.#percentiles = new Histogram({
      name: 'qfae_study_percentile',
      help: 'Percentiles of study scores among the calibration’s',
      labelNames: ['profile'],
      buckets: [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100],
      registers,
    });
    this.#flagged = new Counter({
      name: 'qfae_flagged_studies_total',
      help: 'Studies above the threshold',
      labelNames: ['profile'],
      registers,
    });
    this.#requests = new Counter({
      name: 'qfae_http_requests_total',
      help: 'Requests that were answered',
      labelNames: ['method', 'status'],
      registers,
    });
  }

  /** For the metrics of other parts of the node. */
  get registry(): Registry {
    return this.#registry;
  }

  /** Counts requests by method and status. */
  readonly countRequests: RequestHandler = (request, response, next) => {
    response.once('close', () => {
      this.#requests.inc({ method: request.method, status: response.statusCode });
    });
    next();
  };

  /** Follows what happens to scorings, wherever they run, until `signal`; what happens while it cannot is left out. */
  async follow(events: EventFeed, log: Logger, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const position = await presentPosition(this.#database);
        for await (const news of events.after(position, idleMs, signal)) {
          for (const { type, at, data } of news) {
            if (type === 'study') await this.#note(data as unknown as ScoringEvent, at);
          }
        }
      } catch (error) {
        log.error({ error }, 'stages and errors cannot be measured');
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #note({ scoring, status, step }: ScoringEvent, at: Date): Promise<void> {
    const before = this.#running.get(scoring);
    if (before) {
      this.#stages.observe({ stage: before.step }, (at.getTime() - before.since.getTime()) / 1000);
      this.#running.delete(scoring);
    }
    if (status === 'running') {
      if (step !== null) this.#running.set(scoring, { step, since: at });
      return;
    }
    if (before && ['queued', 'failed'].includes(status)) this.#errors.inc({ step: before.step });
    if (status === 'queued') return;
    const [ended] = await this.#database.query<{
      profile: string | null;
      score: { percentile: number; flagged: boolean } | null;
    }>('select profile, score from scoring where id = $1', [scoring]);
    const profile = ended?.profile ?? '';
    this.#finished.inc({ state: status, profile });
    if (status !== 'scored' || !ended?.score) return;
    this.#percentiles.observe({ profile }, ended.score.percentile);
    if (ended.score.flagged) this.#flagged.inc({ profile });
  }
}
