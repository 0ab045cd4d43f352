import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/database.ts';
import { enterEvent } from '../events/event-log.ts';
import { studiesJudged } from '../feedback/feedback.ts';
import type { Logger } from '../log.ts';
import type { Settings } from '../settings.ts';
import { startTraining, type TrainingProcess, type TrainingResult } from '../training/training-process.ts';
import { chooseStudies, keyOf, type ChosenStudies } from './choose-studies.ts';
import { nextFiring } from './cron.ts';
import { retrainingRequestSchema, type RetrainingRequest } from './request.ts';
import {
  enterRetraining,
  listRetrainings,
  pausedSchedules,
  setPaused,
  updateRetraining,
  type Retraining,
} from './retrainings.ts';
import { retrainingArchives } from './retraining-archives.ts';
import { createRun, openRun } from './run-folder.ts';
import type { ScheduleSettings } from './schedule-settings.ts';

/** How often it is looked whether a schedule fires. */
const lookMs = 500;

/** A run that failed is tried once again. */
const ATTEMPTS = 2;

/** A schedule as it stands. */
export interface ScheduleState {
  name: string;
  profile: string;
  cron: string;
  timezone: string;
  paused: boolean;
  /** Null while it is paused. */
  next: Date | null;
  /** The last firing that came to more than being skipped, or the newest. */
  last: Retraining | null;
}

/** Why a schedule does not do what was asked. */
export class ScheduleError extends Error {
  override name = 'ScheduleError';
  readonly reason: 'unknown' | 'running';

  constructor(reason: ScheduleError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

export interface ScheduleContext {
  settings: Settings;
  /** The data folder. */
  root: string;
  database: Database;
  log: Logger;
}

/** The schedules of the settings as they stand in the database, by name. */
export async function scheduleStates(
  schedules: Settings['retraining']['schedules'],
  database: Database,
): Promise<ScheduleState[]> {
  const paused = await pausedSchedules(database);
  return Promise.all(
    Object.entries(schedules).map(async ([name, schedule]) => {
      const [newest] = await listRetrainings(database, { schedule: name, limit: 1 });
      const [newestRun] = await listRetrainings(database, { schedule: name, skipped: false, limit: 1 });
      const { profile, cron, timezone } = schedule;
      return {
        ...{ name, profile, cron, timezone, paused: paused.has(name) },
        next: paused.has(name) ? null : nextFiring(schedule, new Date()),
        last: newestRun ?? newest ?? null,
      };
    }),
  );
}

/**
 * Starts retrainings when their schedules fire, one at a time, each in a process of its own with low priority. Firings
 * while the node does not run are not made up for; a run that the node's end broke off goes on at its next start.
 */
export class RetrainingSchedule {
  readonly #context: ScheduleContext;
  readonly #schedules: Settings['retraining']['schedules'];
  #running: { schedule: string; done: Promise<void>; process?: TrainingProcess } | undefined;
  readonly #stop = new AbortController();
  /** The one that the node listens on. */
  #port = 0;

  constructor(context: ScheduleContext) {
    this.#context = context;
    this.#schedules = context.settings.retraining.schedules;
  }

  /**
   * Goes on with what was broken off, then fires until `signal`; ends when the run under way has its checkpoint.
   *
   * @param port on which the node listens
   */
  async follow(port: number, signal: AbortSignal): Promise<void> {
    const { database, log } = this.#context;
    this.#port = port;
    signal.addEventListener('abort', () => {
      this.#stop.abort();
      this.#running?.process?.cancel();
    });
    try {
      for (const row of await listRetrainings(database, { state: 'running', limit: 100 })) {
        const schedule = this.#schedules[row.schedule] as ScheduleSettings | undefined;
        if (!schedule || this.#running) {
          const reason = schedule
            ? 'another run goes on first'
            : 'its schedule is not in the settings any more';
          await updateRetraining(database, row.id, { state: 'failed', reason });
          continue;
        }
        log.info({ schedule: row.schedule, run: row.run }, 'retraining goes on');
        this.#begin(row, schedule);
      }
    } catch (error) {
      log.error({ error }, 'retrainings cannot be read');
    }
    let since = new Date();
    while (!signal.aborted) {
      await sleep(lookMs, undefined, { signal }).catch(() => undefined);
      const now = new Date();
      for (const [name, schedule] of Object.entries(this.#schedules)) {
        const due = nextFiring(schedule, since);
        if (due > now) continue;
        await this.#fire(name, schedule, due).catch((error: unknown) => {
          log.error({ schedule: name, error }, 'retraining could not be started');
        });
      }
      since = now;
    }
    await this.#running?.done;
  }

  states(): Promise<ScheduleState[]> {
    return scheduleStates(this.#schedules, this.#context.database);
  }

  /** Starts a run now, even if the schedule is paused. Throws ScheduleError while one runs. */
  async runNow(name: string): Promise<Retraining> {
    const schedule = this.#known(name);
    const before = this.#underWay();
    if (before !== null) throw new ScheduleError('running', before);
    const { database } = this.#context;
    const row = await enterRetraining(database, {
      ...{ schedule: name, profile: schedule.profile, dueAt: new Date() },
    });
    if (!row) throw new ScheduleError('running', 'it was started this very moment');
    const reason = this.#underWay();
    if (reason !== null) {
      await updateRetraining(database, row.id, { state: 'skipped', reason });
      throw new ScheduleError('running', reason);
    }
    this.#begin(row, schedule, { asked: true });
    return row;
  }

  async setPaused(name: string, paused: boolean): Promise<ScheduleState> {
    this.#known(name);
    await setPaused(this.#context.database, name, paused);
    return (await this.states()).find((state) => state.name === name)!;
  }

  #known(name: string): ScheduleSettings {
    const schedule = this.#schedules[name] as ScheduleSettings | undefined;
    if (!schedule) throw new ScheduleError('unknown', `no schedule ${name} in the settings`);
    return schedule;
  }

  async #fire(name: string, schedule: ScheduleSettings, dueAt: Date): Promise<void> {
    const { database, log } = this.#context;
    if ((await pausedSchedules(database)).has(name)) return;
    const skippedFor = this.#underWay();
    const firing = { schedule: name, profile: schedule.profile, dueAt, skippedFor };
    const row = await enterRetraining(database, firing);
    if (!row) return; // of another node on the same database
    const reason = skippedFor ?? this.#underWay(); // somebody may have asked for one this very moment
    if (reason === null) {
      this.#begin(row, schedule);
      return;
    }
    if (skippedFor === null) await updateRetraining(database, row.id, { state: 'skipped', reason });
    log.info({ schedule: name, reason }, 'retraining is skipped');
  }

  /** Why no run can begin now, if none can. */
  #underWay(): string | null {
    return this.#running ? `a run of ${this.#running.schedule} is under way` : null;
  }

  #begin(row: Retraining, schedule: ScheduleSettings, { asked = false } = {}): void {
    const done = this.#run(row, schedule, asked)
      .catch((error: unknown) => {
        this.#context.log.error({ schedule: row.schedule, error }, 'retraining could not be noted');
      })
      .finally(() => {
        this.#running = undefined;
      });
    this.#running = { schedule: row.schedule, done };
  }

  async #run(row: Retraining, schedule: ScheduleSettings, asked: boolean): Promise<void> {
    const { database, log } = this.#context;
    const { id, schedule: name } = row;
    let { run } = row;
    for (let { attempt } = row; ; attempt++) {
      try {
        if (run === null) {
          const begun = await this.#choose(name, schedule, asked);
          if ('reason' in begun) {
            await updateRetraining(database, id, { state: 'skipped', reason: begun.reason });
            log.info({ schedule: name, reason: begun.reason }, 'retraining is skipped');
            return;
          }
          run = begun.folder;
          await updateRetraining(database, id, { run });
          log.info({ schedule: name, run }, 'retraining begins');
        }
        const result = await this.#train(run);
        if (result.status === 'cancelled') return; // the node stops; its next start goes on
        await this.#finish(row, result);
        return;
      } catch (error) {
        const reason = (error as Error).message;
        if (this.#stop.signal.aborted) return;
        if (attempt >= ATTEMPTS) {
          await updateRetraining(database, id, { state: 'failed', reason });
          await enterEvent(database, 'retraining', { schedule: name, state: 'failed', reason });
          log.error({ schedule: name, run, error }, 'retraining failed');
          return;
        }
        await updateRetraining(database, id, { attempt: attempt + 1, reason });
        log.warn({ schedule: name, run, error }, 'retraining failed and is tried once again');
        await sleep(this.#context.settings.retraining.retrySeconds * 1000, undefined, {
          signal: this.#stop.signal,
        }).catch(() => undefined);
        if (this.#stop.signal.aborted) return; // the node's next start tries it
      }
    }
  }

  /** Chooses the studies of a new run. */
  async #choose(
    name: string,
    { cron: _cron, timezone: _timezone, newStudies, ...schedule }: ScheduleSettings,
    asked: boolean,
  ): Promise<{ folder: string } | { reason: string }> {
    const { settings, root, database } = this.#context;
    const request: RetrainingRequest = retrainingRequestSchema.parse(schedule);
    const archives = await retrainingArchives({ ...settings, http: { ...settings.http, port: this.#port } });
    let chosen: ChosenStudies;
    try {
      const judged = (label: Parameters<typeof studiesJudged>[1]) => studiesJudged(database, label);
      chosen = await chooseStudies(request, { archives: archives.sources, judged });
    } finally {
      await archives.close();
    }
    const before = await this.#studiesBefore(name);
    const fresh = chosen.normal.filter((study) => !before.has(keyOf(study))).length;
    if (!asked && request.normal.folder === undefined && fresh < newStudies) {
      return {
        reason: `too few new normal studies: ${fresh} of ${chosen.normal.length}; ${newStudies} are wanted`,
      };
    }
    return createRun(root, request, chosen);
  }

  /** The normal studies of the schedule's last run that came to its end. */
  async #studiesBefore(name: string): Promise<Set<string>> {
    const runs = await listRetrainings(this.#context.database, { schedule: name, state: 'done', limit: 1 });
    const folder = runs.at(0)?.run;
    const run = folder == null ? undefined : await openRun(folder).catch(() => undefined);
    return new Set(run?.chosen.normal.map(keyOf));
  }

  async #train(run: string): Promise<TrainingResult> {
    const process = startTraining(['retrain', '--run', run], this.#context.root, () => undefined, {
      QFAE_HTTP_PORT: String(this.#port),
    });
    if (this.#running) this.#running.process = process;
    if (this.#stop.signal.aborted) process.cancel();
    return process.result;
  }

  async #finish(row: Retraining, result: TrainingResult & { status: 'done' }): Promise<void> {
    const { database, log } = this.#context;
    const { bundle, outcome = null, reason = null } = result;
    const { schedule } = row;
    await updateRetraining(database, row.id, { state: 'done', bundle, outcome, reason });
    await enterEvent(database, 'retraining', { schedule, state: 'done', bundle, outcome });
    log.info({ schedule, bundle, outcome, reason }, 'retraining is done');
  }
}
