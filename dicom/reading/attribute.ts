import type { DicomJson, DicomJsonAttribute } from '../dicom-json.ts';
import { DicomError } from './dicom-error.ts';

/** The attribute, or undefined where the data set has none of this tag. */
export function attributeOf(dataset: DicomJson, tag: string): DicomJsonAttribute | undefined {
  return dataset[tag];
}

/**
 * All values of an attribute that are numbers, in order; empty where it is absent or empty. Text that is a number
 * counts as one: some writers confuse DS and IS with other VRs.
 *
 * @throws DicomError `malformed` for any other value
 */
export function numbersOf(dataset: DicomJson, tag: string): number[] {
  const attribute = attributeOf(dataset, tag);
  if (attribute?.vr === 'UN' && attribute.InlineBinary !== undefined)
    throw new DicomError('malformed', 'value is not a number', { tag });
  return (attribute?.Value ?? []).map((value) => {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isFinite(number))
      throw new DicomError('malformed', 'value is not a number', { tag });
    return number;
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
