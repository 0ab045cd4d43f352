import type { DicomJson, DicomJsonAttribute } from '../dicom-json.ts';
import { DicomError } from './dicom-error.ts';

/** The attribute, or undefined where the data set has none of this tag. */
export function attributeOf(dataset: DicomJson, tag: string): DicomJsonAttribute | undefined {
  return dataset[tag];
}

/** All values of an attribute that are numbers, in order; empty where it is absent or empty. */
export function numbersOf(dataset: DicomJson, tag: string): number[] {
  const values = attributeOf(dataset, tag)?.Value ?? [];
  return values.map((value) => {
    if (typeof value !== 'number') throw new DicomError('malformed', 'value is not a number', { tag });
    return value;
  });
}

/** The first value as a number; undefined where the attribute is absent or empty. */
export function numberOf(dataset: DicomJson, tag: string): number | undefined {
  return numbersOf(dataset, tag).at(0);
}

/** All values that are text, in order; empty where the attribute is absent or empty. */
export function stringsOf(dataset: DicomJson, tag: string): string[] {
  return (attributeOf(dataset, tag)?.Value ?? []).filter((value) => typeof value === 'string');
}

/** The first value as text; undefined where the attribute is absent or empty. */
export function stringOf(dataset: DicomJson, tag: string): string | undefined {
  return stringsOf(dataset, tag).at(0);
}

/** The items of a sequence; empty where it is absent or empty. */
export function itemsOf(dataset: DicomJson, tag: string): DicomJson[] {
  const attribute = attributeOf(dataset, tag);
  return attribute?.vr === 'SQ' ? ((attribute.Value ?? []) as DicomJson[]) : [];
}
