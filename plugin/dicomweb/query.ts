import dcmjs from 'dcmjs';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { Queryable } from '../database/database.ts';
import { indexedAttributes, type Level } from '../store/attributes.ts';

/** A search request that cannot be understood; answered 400 (PS3.18 table 8.5-1). */
export class QueryError extends Error {
  override name = 'QueryError';
}

/** A QIDO-RS search: what level, within what, matching what (PS3.18 section 10.6). */
export interface Query {
  level: Level;
  /** Values that each matching attribute must have, by tag. */
  matches: Map<string, string>;
  limit?: number;
  offset: number;
  /** Parameters that are not heeded; the answer says so in a Warning header (PS3.18 section 8.3.4). */
  unsupported: string[];
}

const columns: Record<Level, string> = { study: 's', series: 'e', instance: 'i' };
const sources: Record<Level, string> = {
  study: 'study s',
  series: 'series e join study s using (study_instance_uid)',
  instance:
    'instance i join series e using (series_instance_uid) join study s on s.study_instance_uid = i.study_instance_uid',
};
const keys: Record<Level, string> = {
  study: 's.study_instance_uid',
  series: 'e.series_instance_uid',
  instance: 'i.sop_instance_uid',
};
/** From the outermost level inwards. */
const levels: Level[] = ['study', 'series', 'instance'];

const modalitiesInStudy = '00080061';

/**
 * Understands the parameters of a QIDO-RS request.
 *
 * @throws QueryError for an attribute that is none, or a limit or offset that is no whole number.
 */
export function parseQuery(level: Level, parameters: URLSearchParams, within: Record<string, string>): Query {
  const query: Query = { level, matches: new Map(), offset: 0, unsupported: [] };
  for (const [name, value] of parameters) {
    if (value.includes('\0')) throw new QueryError(`${name}: holds a NUL character`);
    if (name === 'includefield' || (name === 'fuzzymatching' && value === 'false')) continue;
    if (name === 'fuzzymatching') query.unsupported.push(name);
    else if (name === 'limit') query.limit = wholeNumber(name, value);
    else if (name === 'offset') query.offset = wholeNumber(name, value);
    else {
      const tag = tagOf(name);
      const of = tag === modalitiesInStudy ? 'study' : levelOf(tag);
      if (of === undefined || levels.indexOf(of) > levels.indexOf(level)) query.unsupported.push(name);
      else if (value !== '' && value !== '*') query.matches.set(tag, value);
    }
  }
  for (const [tag, value] of Object.entries(within)) query.matches.set(tag, value);
  return query;
}

/** Finds what matches, in the DICOM JSON model, with the counts that PS3.18 table 10.6.3-3 asks for. */
export async function search(on: Queryable, query: Query, dicomWebRoot: string): Promise<DicomJson[]> {
  const parameters: unknown[] = [];
  const conditions = [...query.matches].map(([tag, value]) => condition(tag, value, parameters));
  const upTo = levels.slice(0, levels.indexOf(query.level) + 1);
  const rows = await on.query<{ attributes: DicomJson; counts: Record<string, number | string[]> }>(
    `select ${upTo.map((level) => `${columns[level]}.attributes`).join(' || ')} as attributes,
       ${counts[query.level]} as counts
     from ${sources[query.level]}
     ${conditions.length > 0 ? `where ${conditions.join(' and ')}` : ''}
     order by ${keys[query.level]}
     ${query.limit === undefined ? '' : `limit ${query.limit}`} offset ${query.offset}`,
    parameters,
  );
  return rows.map(({ attributes, counts }) => withCounts(attributes, counts, query.level, dicomWebRoot));
}

const counts: Record<Level, string> = {
  study: `jsonb_build_object(
    'series', (select count(*) from series where study_instance_uid = s.study_instance_uid),
    'instances', (select count(*) from instance where study_instance_uid = s.study_instance_uid),
    'modalities', (select coalesce(jsonb_agg(distinct attributes #>> '{00080060,Value,0}'), '[]') from series
      where study_instance_uid = s.study_instance_uid))`,
  series: `jsonb_build_object('instances',
    (select count(*) from instance where series_instance_uid = e.series_instance_uid))`,
  instance: `'{}'::jsonb`,
};

function withCounts(
  attributes: DicomJson,
  counts: Record<string, number | string[]>,
  level: Level,
  dicomWebRoot: string,
): DicomJson {
  const value = (tag: string) => attributes[tag]?.Value?.[0] as string;
  const url = [
    `${dicomWebRoot}/studies/${value('0020000D')}`,
    level === 'study' ? '' : `/series/${value('0020000E')}`,
    level === 'instance' ? `/instances/${value('00080018')}` : '',
  ].join('');
  const result: DicomJson = {
    ...attributes,
    '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
    '00080056': { vr: 'CS', Value: ['ONLINE'] },
    '00081190': { vr: 'UR', Value: [url] },
  };
  if (level === 'study') {
    result[modalitiesInStudy] = { vr: 'CS', Value: counts['modalities'] as string[] };
    result['00201206'] = { vr: 'IS', Value: [counts['series'] as number] };
    result['00201208'] = { vr: 'IS', Value: [counts['instances'] as number] };
  } else if (level === 'series') {
    result['00201209'] = { vr: 'IS', Value: [counts['instances'] as number] };
  }
  return Object.fromEntries(Object.entries(result).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** SQL that holds where an attribute matches (PS3.4 section C.2.2.2). */
function condition(tag: string, value: string, parameters: unknown[]): string {
  const parameter = (of: unknown) => `$${parameters.push(of)}`;
  if (tag === modalitiesInStudy) {
    return `exists (select 1 from series m where m.study_instance_uid = s.study_instance_uid
      and m.attributes #>> '{00080060,Value,0}' = any(${parameter(listOf(value))}))`;
  }
  const level = levelOf(tag)!;
  const vr = vrOf(tag);
  const text = `${columns[level]}.attributes #>> '{${tag},Value,0${vr === 'PN' ? ',Alphabetic' : ''}}'`;
  if (vr === 'UI') {
    const identifier = { '0020000D': 's.study_instance_uid', '0020000E': 'e.series_instance_uid' }[tag];
    return `${identifier ?? (tag === '00080018' ? 'i.sop_instance_uid' : text)} = any(${parameter(listOf(value))})`;
  }
  const range = ['DA', 'TM', 'DT'].includes(vr) ? /^([^-]*)-([^-]*)$/.exec(value) : null;
  if (range) {
    const [, from, to] = range;
    const ends = [];
    if (from) ends.push(`${text} >= ${parameter(from)}`);
    if (to) ends.push(`${text} <= ${parameter(to)}`);
    return ends.length > 0 ? `(${ends.join(' and ')})` : 'true';
  }
  if (vr === 'PN') return `${text} ilike ${parameter(pattern(value))}`;
  if (/[*?]/.test(value)) return `${text} like ${parameter(pattern(value))}`;
  return `${text} = ${parameter(value)}`;
}

function listOf(value: string): string[] {
  return value.split(/[\\,]/);
}

/** DICOM's wildcards as SQL's. */
function pattern(value: string): string {
  return value
    .replace(/[\\%_]/g, '\\$&')
    .replaceAll('*', '%')
    .replaceAll('?', '_');
}

function levelOf(tag: string): Level | undefined {
  return levels.find((level) => (indexedAttributes[level] as readonly string[]).includes(tag));
}

function tagOf(name: string): string {
  if (/^[0-9A-Fa-f]{8}$/.test(name)) return name.toUpperCase();
  const entry = dcmjs.data.DicomMetaDictionary.nameMap[name];
  const digits = entry?.tag.replace(/[(),]/g, '');
  if (!digits) throw new QueryError(`${name}: neither a keyword nor a tag of PS3.6`);
  return digits.toUpperCase();
}

function vrOf(tag: string): string {
  return dcmjs.data.DicomMetaDictionary.dictionary[`(${tag.slice(0, 4)},${tag.slice(4)})`]?.vr ?? 'UN';
}

function wholeNumber(name: string, value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new QueryError(`${name}: not a whole number`);
  return Number(value);
}
