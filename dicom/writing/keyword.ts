import dcmjs from 'dcmjs';
import { decimalString } from './decimal-string.ts';
import type { DicomJson, DicomJsonAttribute, DicomJsonValue } from '../dicom-json.ts';
import { attributeOf, itemsOf as itemsOfTag } from '../reading/attribute.ts';
import { hasForm, TEXT_LENGTHS } from './value-form.ts';

/** Attributes by keyword (PS3.6), as one writes them; items of a sequence are such objects again. */
export interface Attributes {
  [keyword: string]: AttributeValue | readonly AttributeValue[] | undefined;
}
type AttributeValue = string | number | Attributes;

/** Tag (eight hexadecimal digits) and VR of a keyword (PS3.6). Throws where there is no such keyword. */
export function dictionaryEntry(keyword: string): { tag: string; vr: string } {
  const entry = dcmjs.data.DicomMetaDictionary.nameMap[keyword];
  if (!entry) throw new Error(`${keyword} is no keyword of the DICOM data dictionary`);
  return { tag: entry.tag.replace(/\W/g, ''), vr: entry.vr };
}

/**
 * A data set from keywords. `undefined` leaves an attribute out, `[]` and `''` write it empty (type 2).
 * Throws where a value lacks the form of its VR; the message names the attribute, never the value.
 *
 * @example dataSet({ Modality: 'OT', Rows: 512, PixelSpacing: [0.5, 0.5], ReferencedSeriesSequence: [] })
 */
export function dataSet(attributes: Attributes): DicomJson {
  const dataset: DicomJson = {};
  for (const [keyword, value] of Object.entries(attributes)) {
    if (value === undefined) continue;
    const { tag, vr } = dictionaryEntry(keyword);
    const values = Array.isArray(value) ? (value as AttributeValue[]) : [value as AttributeValue];
    dataset[tag] = attribute(
      keyword,
      vr,
      values.filter((each) => each !== ''),
    );
  }
  return dataset;
}

function attribute(keyword: string, vr: string, values: AttributeValue[]): DicomJsonAttribute {
  if (values.length === 0) return { vr };
  return { vr, Value: values.map((value) => jsonValue(keyword, vr, value)) };
}

function jsonValue(keyword: string, vr: string, value: AttributeValue): DicomJsonValue {
  if (vr === 'SQ') return dataSet(value as Attributes);
  if (['FL', 'FD', 'SL', 'SS', 'UL', 'US'].includes(vr)) {
    if (!Number.isFinite(value)) throw new RangeError(`${keyword}: ${vr} takes finite numbers`);
    return value;
  }
  const text = typeof value === 'number' ? decimalString(value) : (value as string);
  if (!hasForm(vr, text)) throw new RangeError(`${keyword}: a value is not of the form of VR ${vr}`);
  if (text.length > (TEXT_LENGTHS[vr] ?? Infinity)) {
    throw new RangeError(`${keyword}: ${text.length} characters are too many for VR ${vr}`);
  }
  return vr === 'PN' ? { Alphabetic: text } : text;
}

/** The values of an attribute as strings; empty where it is absent or has none. */
export function stringsOf(dataset: DicomJson, keyword: string): string[] {
  const values = attributeOf(dataset, dictionaryEntry(keyword).tag)?.Value ?? [];
  return values.filter((value) => typeof value === 'string' || typeof value === 'number').map(String);
}

/** The first value of an attribute as a string; `undefined` where it is absent or empty. */
export function stringOf(dataset: DicomJson, keyword: string): string | undefined {
  return stringsOf(dataset, keyword)[0];
}

/** The items of a sequence; none where it is absent. */
export function itemsOf(dataset: DicomJson, keyword: string): DicomJson[] {
  return itemsOfTag(dataset, dictionaryEntry(keyword).tag);
}
