import { attributeOf, itemsOf, numberOf, numbersOf } from '../reading/attribute.ts';
import { DicomError } from '../reading/dicom-error.ts';
import type { DicomJson } from '../dicom-json.ts';

/** An item of a Modality LUT or VOI LUT Sequence. */
export interface LookupTable {
  /** Input value that maps to the first entry. */
  firstValue: number;
  entries: Uint16Array;
  /** Bits of an entry. */
  bits: number;
}

/**
 * Reads LUT Descriptor and LUT Data (PS3.3 C.11.1.1, C.11.2.1.1).
 *
 * @throws DicomError where LUT Data is shorter than the descriptor says
 */
export function lookupTable(item: DicomJson): LookupTable {
  const descriptor = numbersOf(item, '00283002');
  const [count, firstValue, bits] = descriptor;
  if (descriptor.length !== 3 || bits < 1 || bits > 16)
    throw new DicomError('malformed', 'LUT Descriptor is not three values with up to 16 bits', {
      tag: '00283002',
    });
  // Number of entries is unsigned even where the VR is SS; 0 stands for 65536.
  const length = (count & 0xffff) === 0 ? 65536 : count & 0xffff;
  const entries = lutData(item, length, bits);
  if (entries.length < length)
    throw new DicomError('truncated', `LUT Data holds ${entries.length} of ${length} entries`, {
      tag: '00283006',
    });
  return { firstValue, entries: entries.subarray(0, length), bits };
}

/** LUT Data is US, SS or OW; with 8-bit entries two may be packed into a word. */
function lutData(item: DicomJson, length: number, bits: number): Uint16Array {
  const inline = attributeOf(item, '00283006')?.InlineBinary;
  if (inline === undefined) return Uint16Array.from(numbersOf(item, '00283006'));
  const bytes = Buffer.from(inline, 'base64');
  if (bits <= 8 && bytes.length < 2 * length) return Uint16Array.from(bytes);
  return Uint16Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readUInt16LE(2 * i));
}

/** The entry for an input value; values outside map to the first or last entry. */
export function lookUp({ firstValue, entries }: LookupTable, value: number): number {
  const index = Math.min(Math.max(Math.trunc(value) - firstValue, 0), entries.length - 1);
  return entries[index];
}

/** Rescale Slope and Intercept, or a Modality LUT, as a function of the stored value (PS3.3 C.11.1). */
export function modalityTransform(attributes: DicomJson): (stored: number) => number {
  const item = itemsOf(attributes, '00283000').at(0);
  if (item) {
    const table = lookupTable(item);
    return (stored) => lookUp(table, stored);
  }
  const slope = numberOf(attributes, '00281053') ?? 1;
  const intercept = numberOf(attributes, '00281052') ?? 0;
  return (stored) => slope * stored + intercept;
}
