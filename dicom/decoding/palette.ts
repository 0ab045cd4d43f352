import type { DicomJson } from '../dicom-json.ts';
import { attributeOf, numbersOf } from '../reading/attribute.ts';
import { DicomError } from '../reading/dicom-error.ts';

/** Colours of 8 bits for stored values. */
export interface Palette {
  /** Stored value of the first entry; lower ones have its colour, higher ones than the last the last one's. */
  firstValue: number;
  red: Uint8Array;
  green: Uint8Array;
  blue: Uint8Array;
}

/**
 * The Palette Color Lookup Tables of a data set (PS3.3 C.7.6.3.1.5 and 6), segmented ones expanded (C.7.9).
 * Entries of 16 bits are scaled down.
 *
 * @throws DicomError `malformed` or `truncated`
 */
export function paletteOf(attributes: DicomJson): Palette {
  const [red, green, blue] = ['1', '2', '3'].map((colour) => {
    const tag = `0028110${colour}`;
    const descriptor = numbersOf(attributes, tag);
    const [count, firstValue, bits] = descriptor;
    if (descriptor.length !== 3 || (bits !== 8 && bits !== 16))
      throw new DicomError('malformed', 'palette descriptor is not three values with 8 or 16 bits', { tag });
    // As in a LUT Descriptor, see `lookupTable`.
    const length = (count & 0xffff) === 0 ? 65536 : count & 0xffff;
    return { firstValue, entries: entriesOf(attributes, colour, length, bits) };
  });
  return {
    firstValue: red.firstValue,
    red: red.entries,
    green: green.entries,
    blue: blue.entries,
  };
}

function entriesOf(attributes: DicomJson, colour: string, length: number, bits: 8 | 16): Uint8Array {
  const segmentedTag = `0028122${colour}`;
  const segmented = binary(attributes, segmentedTag);
  const tag = segmented ? segmentedTag : `0028120${colour}`;
  const bytes = segmented ?? binary(attributes, tag) ?? new Uint8Array(0);
  // Entries of 8 bits are packed two in a word, or stand in a word each.
  const narrow = bits === 8 && (segmented !== undefined || bytes.length < 2 * length);
  const words = narrow ? bytes : wordsOf(bytes);
  const entries = segmented ? expanded(words, length, narrow ? 1 : 2, tag) : words;
  if (entries.length < length || length === 0)
    throw new DicomError('truncated', `palette of ${entries.length} entries in place of ${length}`, { tag });
  return Uint8Array.from({ length }, (_, i) => entries[i] >> (bits - 8));
}

/** The value of OW, also where a writer said US. */
function binary(attributes: DicomJson, tag: string): Uint8Array | undefined {
  const attribute = attributeOf(attributes, tag);
  if (attribute?.InlineBinary !== undefined) return Buffer.from(attribute.InlineBinary, 'base64');
  if (attribute?.Value === undefined) return undefined;
  return new Uint8Array(Uint16Array.from(numbersOf(attributes, tag)).buffer);
}

function wordsOf(bytes: Uint8Array): Uint16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint16Array.from({ length: bytes.length >> 1 }, (_, i) => view.getUint16(2 * i, true));
}

/**
 * Expands the segments of PS3.3 C.7.9.2: discrete ones list their values, linear ones lead to a value from the last
 * one, indirect ones repeat earlier segments.
 *
 * @param size bytes of a value, for the offsets of indirect segments
 */
function expanded(data: Uint8Array | Uint16Array, length: number, size: 1 | 2, tag: string): number[] {
  const entries: number[] = [];
  const wrong = (what: string) => new DicomError('malformed', `segmented palette: ${what}`, { tag });

  /** From `at` on, `segments` of them, or until the table is full; returns where it stopped. */
  const expand = (from: number, segments: number, repeated: boolean): void => {
    let at = from;
    for (let segment = 0; segment < segments && entries.length < length; segment++) {
      if (at + 2 >= data.length) throw wrong('it ends early');
      const [kind, count] = [data[at], data[at + 1]];
      at += 2;
      if (kind === 0) {
        entries.push(...data.subarray(at, at + count));
        at += count;
      } else if (kind === 1) {
        const start = entries.at(-1);
        if (start === undefined) throw wrong('it begins with a linear segment');
        const end = data[at++];
        for (let i = 1; i <= count; i++) entries.push(Math.round(start + ((end - start) * i) / count));
      } else if (kind === 2 && !repeated) {
        const words = 4 / size;
        const offset = [...data.subarray(at, at + words)].reduceRight(
          (sum, each) => sum * 256 ** size + each,
          0,
        );
        at += words;
        expand(offset / size, count, true);
      } else throw wrong(`segment of kind ${kind}`);
    }
  };
  expand(0, Infinity, false);
  return entries;
}
