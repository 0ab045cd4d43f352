import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/database.ts';
import { enterEvent } from '../events/event-log.ts';
import type { Logger } from '../log.ts';
import { SettingsError, type Settings } from '../settings.ts';
import { enforceRules, ruleBook } from './rule-book.ts';
import type { RulesContext } from './rules-file.ts';

/** Where rules come from. */
export interface RulesSource {
  file: string;
  /** Whether the file may be missing: then every study is scored as the settings say. */
  optional: boolean;
}

/** The file that the settings name; or `rules.yaml` beside them, which may be missing. */
export function rulesSource({ rules }: Pick<Settings, 'rules'>): RulesSource {
  if (rules !== undefined) return { file: rules, optional: false };
  return { file: join(dirname(process.env['QFAE_CONFIG'] ?? 'qfae.yaml'), 'rules.yaml'), optional: true };
}

/** The file is read so often: that misses no change, however and wherever it is made. */
const intervalMs = 1000;

/** Keeps the rules of a file in force: what is written into it, if it is right; else what was in force before. */
export class RulesWatch {
  readonly #database: Database;
  readonly #source: RulesSource;
  readonly #context: RulesContext;
  readonly #log: Logger;
  readonly #closing = new AbortController();
  #watching: Promise<void> = Promise.resolve();
  /** What the file held when it was read last; null before. */
  #text: string | undefined | null = null;
  #problems: string[] = [];

  private constructor(database: Database, source: RulesSource, context: RulesContext, log: Logger) {
    this.#database = database;
    this.#source = source;
    this.#context = context;
    this.#log = log;
  }

  /**
   * Reads the file and watches it from then on.
   *
   * @throws SettingsError if it is wrong and there never was a right one.
   */
  static async open(
    database: Database,
    source: RulesSource,
    context: RulesContext,
    log: Logger,
  ): Promise<RulesWatch> {
    const watch = new RulesWatch(database, source, context, log);
    await watch.#read();
    if (watch.#problems.length > 0 && (await ruleBook(database)).since === null) {
      throw new SettingsError(watch.#problems.join('\n'));
    }
    watch.#watching = watch.#watch();
    return watch;
  }

  /** The file, and why what it holds is not in force; no problems where it is. */
  get state(): { file: string; problems: string[] } {
    return { file: this.#source.file, problems: this.#problems };
  }

  /** Ends the watching. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watching;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await sleep(intervalMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      await this.#read();
    }
  }

  async #read(): Promise<void> {
    const { file, optional } = this.#source;
    try {
      const text = await readFile(file, 'utf8').catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      });
      if (text === this.#text) return;
      const outcome =
        text === undefined && !optional
          ? { problems: [`${file}: no such file`] }
          : await enforceRules(this.#database, file, text, this.#context);
      this.#text = text;
      const before = this.#problems;
      this.#problems = 'problems' in outcome ? outcome.problems : [];
      if ('problems' in outcome) {
        this.#log.error(
          { file, problems: outcome.problems },
          'rules are refused; the old ones stay in force',
        );
        await enterEvent(this.#database, 'rules', { refused: true });
      } else if (outcome.changed) this.#log.info({ file }, 'other rules are in force');
      else if (before.length > 0) await enterEvent(this.#database, 'rules', { refused: false });
    } catch (error) {
      const problem = `${file}: ${(error as Error).message}`;
      if (this.#problems[0] !== problem)
        this.#log.error({ file, error }, 'rules cannot be read; the old ones stay in force');
      this.#problems = [problem];
      this.#text = null;
    }
  }
}
