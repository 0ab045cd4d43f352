import dictionary from 'dcmjs/dictionary';

/** How a VR is laid out in bytes (PS3.5 section 6.2, table 6.2-1) and in JSON (PS3.18 table F.2.3-1). */
export interface ValueRepresentation {
  kind: 'text' | 'number' | 'tag' | 'binary' | 'sequence';
  /** Explicit VR: a 32-bit length after two reserved bytes (PS3.5 7.1.2). */
  longLength?: true;
  /** Bytes of one value, or of one word of a binary stream. */
  size?: 1 | 2 | 4 | 8;
  /** Text: encoded in the Specific Character Set (PS3.5 6.1.2.3). */
  localised?: true;
  /** Text: a backslash is a character, not a delimiter. */
  single?: true;
  /** Text: leading spaces carry no meaning. */
  trimStart?: true;
}

const representations: Record<string, ValueRepresentation> = {
  AE: { kind: 'text', trimStart: true },
  AS: { kind: 'text' },
  AT: { kind: 'tag', size: 4 },
  CS: { kind: 'text', trimStart: true },
  DA: { kind: 'text' },
  DS: { kind: 'text', trimStart: true },
  DT: { kind: 'text' },
  FD: { kind: 'number', size: 8 },
  FL: { kind: 'number', size: 4 },
  IS: { kind: 'text', trimStart: true },
  LO: { kind: 'text', localised: true, trimStart: true },
  LT: { kind: 'text', localised: true, single: true },
  OB: { kind: 'binary', size: 1, longLength: true },
  OD: { kind: 'binary', size: 8, longLength: true },
  OF: { kind: 'binary', size: 4, longLength: true },
  OL: { kind: 'binary', size: 4, longLength: true },
  OV: { kind: 'binary', size: 8, longLength: true },
  OW: { kind: 'binary', size: 2, longLength: true },
  PN: { kind: 'text', localised: true },
  SH: { kind: 'text', localised: true, trimStart: true },
  SL: { kind: 'number', size: 4 },
  SQ: { kind: 'sequence', longLength: true },
  SS: { kind: 'number', size: 2 },
  ST: { kind: 'text', localised: true, single: true },
  SV: { kind: 'number', size: 8, longLength: true },
  TM: { kind: 'text' },
  UC: { kind: 'text', localised: true, longLength: true },
  UI: { kind: 'text' },
  UL: { kind: 'number', size: 4 },
  UN: { kind: 'binary', size: 1, longLength: true },
  UR: { kind: 'text', single: true, longLength: true },
  US: { kind: 'number', size: 2 },
  UT: { kind: 'text', localised: true, single: true, longLength: true },
  UV: { kind: 'number', size: 8, longLength: true },
};

/** The layout of `vr`, or undefined where PS3.5 does not know it. */
export function valueRepresentation(vr: string): ValueRepresentation | undefined {
  return Object.hasOwn(representations, vr) ? representations[vr] : undefined;
}

/** dcmjs's names for VRs that the data set decides on. `xs` is US or SS by Pixel Representation. */
const undecided: Record<string, string> = { ox: 'OW', lt: 'OW', up: 'UL', xs: 'xs' };

const vrByTag = new Map<string, string>();
const keywordByTag = new Map<string, string>();
for (const { tag, vr, name } of Object.values(dictionary)) {
  // Repeating groups stand as (60xx), (50xx) and (7Fxx) with the range written out.
  const match = /^\(([0-9A-F]{4})(?:-[0-9A-F]{4})?,([0-9A-F]{4})\)$/.exec(tag);
  const known = Object.hasOwn(undecided, vr) ? undecided[vr] : vr;
  // dcmjs marks keywords of retired attributes.
  if (match) keywordByTag.set(match[1] + match[2], name.replace(/^RETIRED_/, ''));
  if (match && (known === 'xs' || Object.hasOwn(representations, known)))
    vrByTag.set(match[1] + match[2], known);
}

/**
 * The VR of a public attribute by the data dictionary (PS3.6), for implicit VR and UN.
 *
 * @param tag eight upper-case hexadecimal digits
 * @param signed whether Pixel Representation is 1, which decides between US and SS (PS3.5 A.1)
 * @returns `LO` for a private creator, undefined for what the dictionary does not hold
 */
export function dictionaryVR(tag: string, signed: boolean): string | undefined {
  const group = Number.parseInt(tag.slice(0, 4), 16);
  if (group % 2 === 1) return /^00[1-9A-F][0-9A-F]$/.test(tag.slice(4)) ? 'LO' : undefined;
  const vr = vrByTag.get(tag) ?? vrByTag.get(repeatingGroup(tag));
  return vr === 'xs' ? (signed ? 'SS' : 'US') : vr;
}

/**
 * The keyword of a public attribute by the data dictionary (PS3.6).
 *
 * @param tag eight upper-case hexadecimal digits
 * @returns undefined for what the dictionary does not hold
 */
export function keywordOf(tag: string): string | undefined {
  return keywordByTag.get(tag) ?? keywordByTag.get(repeatingGroup(tag));
}

/** (50xx,eeee) and (60xx,eeee) are defined once, for the first group (PS3.5 7.6). */
const repeatingGroup = (tag: string): string =>
  /^(50|60|7F)/.test(tag) ? `${tag.slice(0, 2)}00${tag.slice(4)}` : tag;
