import { indexLevelOf, levels, tagOf, vrOf, type Level } from '../store/attributes.ts';

/** A search request that cannot be understood; answered 400 (PS3.18 table 8.5-1). */
export class QueryError extends Error {
  override name = 'QueryError';
}

/** A QIDO-RS search: what level, within what, matching what (PS3.18 section 8.3.4). */
export interface Query {
  level: Level;
  matches: Match[];
  /** Attributes to be returned beside those of the tables, or every one that the level has. */
  include: Set<string> | 'all';
  /** Whether each word of a name only has to begin a word of the patient's. */
  fuzzy: boolean;
  limit?: number;
  offset: number;
  /** Parameters that are not heeded; the answer says so in a Warning header (PS3.18 section 8.3.4). */
  unsupported: string[];
}

/** An attribute and what it has to match; in a sequence, the path to it, outermost first. */
export interface Match {
  path: string[];
  value: string;
}

/**
 * Understands the parameters of a QIDO-RS request.
 *
 * @throws QueryError for an attribute that is none, or a value without the form that its VR has in a query.
 */
export function parseQuery(level: Level, parameters: URLSearchParams, within: Record<string, string>): Query {
  const query: Query = { level, matches: [], include: new Set(), fuzzy: false, offset: 0, unsupported: [] };
  const matches = new Map<string, Match>();
  for (const [name, value] of parameters) {
    if (value.includes('\0')) throw new QueryError(`${name}: holds a NUL character`);
    if (name === 'includefield') include(query, value);
    else if (name === 'fuzzymatching') query.fuzzy = fuzziness(value);
    else if (name === 'limit') query.limit = wholeNumber(name, value);
    else if (name === 'offset') query.offset = wholeNumber(name, value);
    else if (name !== 'accept') {
      const path = name.split('.').map(tagOfParameter);
      const of = indexLevelOf(path[0]);
      if (of === undefined || levels.indexOf(of) > levels.indexOf(level)) query.unsupported.push(name);
      else if (value !== '' && value !== '*') {
        checkForm(name, vrOf(path.at(-1)!), value);
        matches.set(path.join('.'), { path, value });
      }
    }
  }
  for (const [tag, value] of Object.entries(within)) matches.set(tag, { path: [tag], value });
  query.matches = [...matches.values()];
  return query;
}

/** `includefield` may come several times, and hold several attributes (PS3.18 table 8.3.4-1). */
function include(query: Query, value: string): void {
  for (const name of value.split(',').filter((part) => part !== '')) {
    if (name === 'all') query.include = 'all';
    else {
      // An attribute of a sequence comes with the whole of the sequence.
      const [tag] = name.split('.').map(tagOfParameter);
      if (query.include !== 'all') query.include.add(tag);
    }
  }
}

function fuzziness(value: string): boolean {
  if (value !== 'true' && value !== 'false') throw new QueryError('fuzzymatching: neither true nor false');
  return value === 'true';
}

const forms: Partial<Record<string, RegExp>> = {
  DA: /^(\d{8})?-?(\d{8})?$/,
  TM: /^(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?-?(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?$/,
  UI: /^[\d.]+([\\,][\d.]+)*$/,
};

function checkForm(name: string, vr: string, value: string): void {
  const form = forms[vr];
  if (form && !form.test(value)) throw new QueryError(`${name}: not of the form that ${vr} has in a query`);
}

function tagOfParameter(name: string): string {
  const tag = tagOf(name);
  if (tag === undefined) throw new QueryError(`${name}: neither a keyword nor a tag of PS3.6`);
  return tag;
}

function wholeNumber(name: string, value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new QueryError(`${name}: not a whole number`);
  return Number(value);
}
