import { createHash } from 'node:crypto';
import type { Database, Queryable } from '../database/database.ts';
import { enterEvent } from '../events/event-log.ts';
import { defaultRules, readRules, type RulesContext } from './rules-file.ts';
import type { Rule } from './schema.ts';

/** The rules by which this node and every worker on its database decide. */
export interface RuleBook {
  /** The first 12 hexadecimal digits of the SHA-256 of their text; `default` where there never was a file. */
  version: string;
  rules: Rule[];
  /** When they came into force; null for the default ones. */
  since: Date | null;
}

/** The rules in force: those of the last file that was taken over. */
export async function ruleBook(on: Queryable): Promise<RuleBook> {
  const [row] = await on.query<{ version: string; text: string; since: Date }>(
    'select version, text, since from rule_book order by id desc limit 1',
  );
  if (!row || row.version === defaultVersion) {
    return { version: defaultVersion, rules: defaultRules, since: row?.since ?? null };
  }
  if (lastRead?.version !== row.version) {
    const read = readRules('rules', row.text);
    if ('problems' in read) {
      throw new Error(`the rules in force cannot be read by this version: ${read.problems.join('; ')}`);
    }
    lastRead = { version: row.version, rules: read.rules };
  }
  return { ...lastRead, since: row.since };
}

/** Rules are asked for every second. */
let lastRead: { version: string; rules: Rule[] } | undefined;

const defaultVersion = 'default';

/**
 * Puts the text of a file of rules into force, or the default rules where there is none, for every process on the
 * database.
 *
 * @returns whether anything changed, or every problem with its line; then the old rules stay in force.
 */
export async function enforceRules(
  database: Database,
  file: string,
  text: string | undefined,
  context: RulesContext,
): Promise<{ changed: boolean } | { problems: string[] }> {
  const read = text === undefined ? { rules: defaultRules } : readRules(file, text, context);
  if ('problems' in read) return read;
  const version =
    text === undefined ? defaultVersion : createHash('sha256').update(text).digest('hex').slice(0, 12);
  return database.transaction(async (transaction) => {
    const [newest] = await transaction.query<{ version: string }>(
      'select version from rule_book order by id desc limit 1',
    );
    if ((newest?.version ?? defaultVersion) === version) return { changed: false };
    await transaction.query('insert into rule_book (version, text) values ($1, $2)', [version, text ?? '']);
    await enterEvent(transaction, 'rules', { version });
    return { changed: true };
  });
}
