import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/database.ts';
import type { Logger } from '../log.ts';
import { eventPage, eventsAfter, forgetEvents, presentPosition, type NodeEvent } from './event-log.ts';

/** How often the database is asked for news while anyone watches; workers write into it from other machines. */
const pollMs = 500;
const keptMs = 24 * 3600 * 1000;
const forgetEveryMs = 600_000;

/** Tells those who watch what happens, wherever in the cluster it happens. */
export class EventFeed {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #watchers = new Set<() => void>();

  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = log;
  }

  /** Looks for news while anyone watches, and forgets events that are older than a day, until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    let forgottenAt = 0;
    let position: string | undefined;
    while (!signal.aborted) {
      try {
        if (Date.now() - forgottenAt > forgetEveryMs) {
          await forgetEvents(this.#database, new Date(Date.now() - keptMs));
          forgottenAt = Date.now();
        }
        if (this.#watchers.size === 0) position = undefined;
        else if (position === undefined) {
          position = await presentPosition(this.#database);
          this.#wake(); // what came between their first look and ours
        } else {
          const events = await eventsAfter(this.#database, position);
          position = events.at(-1)?.position ?? position;
          if (events.length > 0) this.#wake();
        }
      } catch (error) {
        if (!signal.aborted) this.#log.error({ error }, 'events cannot be read');
      }
      await sleep(pollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #wake(): void {
    for (const wake of this.#watchers) wake();
  }

  /**
   * The events behind `position` as they come, in order and each once; nothing, at least every `idleMs`, where
   * nothing happens. Ends with `signal`.
   */
  async *after(
    position: string,
    idleMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<NodeEvent[], void, undefined> {
    let news = Promise.withResolvers<undefined>();
    const wake = () => {
      news.resolve(undefined);
    };
    this.#watchers.add(wake);
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted) {
        news = Promise.withResolvers();
        const events = await eventsAfter(this.#database, position);
        position = events.at(-1)?.position ?? position;
        yield events;
        if (events.length === eventPage) continue;
        const idle = new AbortController();
        await Promise.race([
          news.promise,
          sleep(idleMs, undefined, { signal: idle.signal }).catch(() => undefined),
        ]);
        idle.abort();
      }
    } finally {
      this.#watchers.delete(wake);
      signal.removeEventListener('abort', wake);
    }
  }
}
