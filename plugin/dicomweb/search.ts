import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { DicomPool } from '../../dicom/pool.ts';
import type { Database } from '../database/database.ts';
import {
  indexedAttributes,
  levelOf,
  levels,
  modalitiesInStudy,
  multiplicityOf,
  vrOf,
  type Level,
} from '../store/attributes.ts';
import type { InstanceStore, StoredInstance } from '../store/instance-store.ts';
import { ahead } from './ahead.ts';
import type { Match, Query } from './query.ts';

/** What a search needs of the node: attributes that the index does not hold are read from the objects. */
export interface SearchContext {
  database: Database;
  store: InstanceStore;
  pool: DicomPool;
}

/** Rows that are asked for at once; a search has as many as it finds. */
const pageSize = 2000;
/** Headers that are parsed before their turn. */
const headersAhead = 4;

const patientName = '00100010';

const tables: Record<Level, string> = { study: 's', series: 'e', instance: 'i' };
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

/** Numbers that PS3.18 tables 10.6.3-3 and 10.6.3-4 ask for, and one instance that stands for the others. */
const computed: Record<Level, string> = {
  study: `
    (select count(*) from series where study_instance_uid = s.study_instance_uid)::int as series,
    (select count(*) from instance where study_instance_uid = s.study_instance_uid)::int as instances,
    (select coalesce(jsonb_agg(distinct attributes #>> '{00080060,Value,0}'), '[]') from series
      where study_instance_uid = s.study_instance_uid and attributes #>> '{00080060,Value,0}' <> '') as modalities,
    (select sop_instance_uid from instance where study_instance_uid = s.study_instance_uid limit 1) as example`,
  series: `
    (select count(*) from instance where series_instance_uid = e.series_instance_uid)::int as instances,
    (select sop_instance_uid from instance where series_instance_uid = e.series_instance_uid limit 1) as example`,
  instance: 'i.transfer_syntax_uid as "transferSyntaxUID", i.sop_instance_uid as example',
};

interface Row {
  key: string;
  attributes: DicomJson;
  series?: number;
  instances?: number;
  modalities?: string[];
  transferSyntaxUID?: string;
  example: string;
}

/** Finds what matches, in the DICOM JSON model, ordered by UID; page by page, so that any number can be found. */
export async function* search(
  context: SearchContext,
  query: Query,
  dicomWebRoot: string,
): AsyncGenerator<DicomJson> {
  const key = keys[query.level];
  const upTo = levels.slice(0, levels.indexOf(query.level) + 1);
  const parameters: unknown[] = [];
  const conditions = query.matches.map((match) => condition(match, query.fuzzy, parameters));
  const extra = extraTags(query, upTo);
  let left = query.limit ?? Infinity;
  let offset = query.offset;
  let after = '';
  while (left > 0) {
    const count = Math.min(pageSize, left);
    const rows = await context.database.query<Row>(
      `select ${key} as key, ${upTo.map((level) => `${tables[level]}.attributes`).join(' || ')} as attributes,
         ${computed[query.level]}
       from ${sources[query.level]}
       where ${[...conditions, `${key} > $${parameters.length + 1}`].join(' and ')}
       order by ${key} limit ${count} offset ${offset}`,
      [...parameters, after],
    );
    yield* ahead(rows, headersAhead, async (row) => {
      const more = extra === undefined ? {} : await readMore(context, row, extra);
      return described(row, more, query.level, dicomWebRoot);
    });
    if (rows.length < count) return;
    left -= count;
    offset = 0;
    after = rows.at(-1)!.key;
  }
}

/** Tests whether an attribute that the index does not hold is to be read from the object; undefined: none is. */
function extraTags({ include, level }: Query, upTo: Level[]): ((tag: string) => boolean) | undefined {
  const indexed = (tag: string) =>
    upTo.some((one) => (indexedAttributes[one] as readonly string[]).includes(tag));
  const ofLevel = (tag: string) => upTo.includes(levelOf(tag));
  if (include === 'all') return level === 'instance' ? () => true : ofLevel;
  const wanted = new Set(
    [...include].filter((tag) => !indexed(tag) && ofLevel(tag) && tag !== modalitiesInStudy),
  );
  return wanted.size === 0 ? undefined : (tag) => wanted.has(tag);
}

/** Attributes of the instance that stands for the row. One that was deleted meanwhile adds nothing. */
async function readMore(
  { store, pool }: SearchContext,
  row: Row,
  wanted: (tag: string) => boolean,
): Promise<DicomJson> {
  const instance: StoredInstance | undefined = await store.get(row.example);
  if (!instance) return {};
  const { dataset } = await pool.readHeader(store.path(instance));
  return Object.fromEntries(Object.entries(dataset).filter(([tag]) => wanted(tag)));
}

function described(row: Row, more: DicomJson, level: Level, dicomWebRoot: string): DicomJson {
  const attributes = { ...more, ...row.attributes };
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
  if (row.modalities) result[modalitiesInStudy] = { vr: 'CS', Value: row.modalities };
  if (row.series !== undefined) result['00201206'] = { vr: 'IS', Value: [row.series] };
  if (row.instances !== undefined) {
    result[level === 'study' ? '00201208' : '00201209'] = { vr: 'IS', Value: [row.instances] };
  }
  if (row.transferSyntaxUID !== undefined) {
    result['00083002'] = { vr: 'UI', Value: [row.transferSyntaxUID] };
  }
  return Object.fromEntries(Object.entries(result).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** SQL that holds where an attribute matches (PS3.4 section C.2.2.2). */
function condition({ path, value }: Match, fuzzy: boolean, parameters: unknown[]): string {
  const parameter = (of: unknown) => `$${parameters.push(of)}`;
  const [tag] = path;
  if (tag === modalitiesInStudy) {
    return `exists (select 1 from series m where m.study_instance_uid = s.study_instance_uid
      and (m.attributes #>> '{00080060,Value,0}') collate "C" = any(${parameter(listOf(value))}))`;
  }
  const level = levelOf(tag);
  const attributes = `${tables[level]}.attributes`;
  const vr = vrOf(path.at(-1)!);
  const identifier = { '0020000D': keys.study, '0020000E': keys.series, '00080018': keys.instance }[tag];
  if (identifier !== undefined && path.length === 1)
    return `${identifier} = any(${parameter(listOf(value))})`;
  // One value of many, or one component group of a name, is enough. A single one is found by its index, if it has one.
  if (path.length === 1 && multiplicityOf(tag) === '1' && vr !== 'PN') {
    return `(${comparison(`(${attributes} #>> '{${tag},Value,0}')`, vr, value, fuzzy, parameter)})`;
  }
  const steps = path.map((step) => `."${step}".Value[*]`).join('') + (vr === 'PN' ? '.*' : '');
  const exact = `exists (select 1 from jsonb_path_query(${attributes}, '$${steps}') as found(value)
    where ${comparison(`(found.value #>> '{}')`, vr, value, fuzzy, parameter)})`;
  if (tag !== patientName || path.length > 1) return exact;
  return [...partsOfNames(attributes, value, fuzzy, parameter), exact].join(' and ');
}

/** What the index of names looks for: text that stands somewhere in all component groups together. */
function partsOfNames(
  attributes: string,
  value: string,
  fuzzy: boolean,
  parameter: (of: unknown) => string,
): string[] {
  return (fuzzy ? wordsOf(value) : [withoutTrailingDelimiters(value)])
    .filter((part) => !/["\\]/.test(part)) // they are escaped there: one character is two
    .map((part) => pattern(part.replaceAll('?', '*')))
    .map((part) => `(${attributes} #>> '{${patientName},Value}') ilike ${parameter(`%${part}%`)}`);
}

/** Compares by bytes, as the indexes are ordered. */
function comparison(
  textOfAttribute: string,
  vr: string,
  value: string,
  fuzzy: boolean,
  parameter: (of: unknown) => string,
): string {
  if (vr === 'PN') return nameComparison(textOfAttribute, value, fuzzy, parameter);
  const text = `${textOfAttribute} collate "C"`;
  if (vr === 'UI') return `${text} = any(${parameter(listOf(value))})`;
  const range = ['DA', 'TM', 'DT'].includes(vr) ? /^([^-]*)-([^-]*)$/.exec(value) : null;
  if (range) {
    const [, from, to] = range;
    const ends = [];
    if (from) ends.push(`${text} >= ${parameter(from)}`);
    // A time to the minute ends with its last second: `~` is behind every digit.
    if (to) ends.push(`${text} <= ${parameter(`${to}~`)}`);
    return ends.join(' and ') || 'true';
  }
  if (/[*?]/.test(value)) return `${text} like ${parameter(pattern(value))}`;
  return `${text} = ${parameter(value)}`;
}

/**
 * Names match whatever their case. Fuzzy: each word of the value begins a word of the name, in any order
 * (PS3.18 table 8.3.4-1 leaves the algorithm to the server).
 */
function nameComparison(
  text: string,
  value: string,
  fuzzy: boolean,
  parameter: (of: unknown) => string,
): string {
  if (fuzzy) {
    const begins = wordsOf(value).map(
      (word) => `' ' || translate(${text}, '^=-', '   ') ilike ${parameter(`% ${pattern(word)}%`)}`,
    );
    return begins.join(' and ') || 'true';
  }
  return `rtrim(${text}, '^ ') ilike ${parameter(pattern(withoutTrailingDelimiters(value)))}`;
}

function wordsOf(name: string): string[] {
  return name.split(/[\s^=*?,]+/).filter((word) => word !== '');
}

/** They carry no meaning (PS3.5 section 6.2.1.1). */
function withoutTrailingDelimiters(name: string): string {
  return name.replace(/[\^ ]+$/, '');
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
