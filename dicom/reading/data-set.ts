import { isDeepStrictEqual } from 'node:util';
import type { DicomJson, DicomJsonAttribute, DicomJsonValue } from '../dicom-json.ts';
import type { ByteSource } from './byte-source.ts';
import { ascii, decodeText, specificCharacterSet } from './character-set.ts';
import { DicomError, type DicomErrorReason } from './dicom-error.ts';
import { dictionaryVR, valueRepresentation, type ValueRepresentation } from './value-representation.ts';

/*
 * A reader of its own rather than dicom-parser 1.8: that one misreads OV, SV and UV (and with them the
 * extended offset table), guesses where a sequence of undefined length in UN ends, reports no offsets and
 * needs the whole header in memory. This one seeks over what is large.
 */

/** How a data set is encoded (PS3.5 annex A). */
export interface Encoding {
  explicit: boolean;
  bigEndian: boolean;
}

/** One item of encapsulated Pixel Data: a byte range of the source. */
export interface ByteRange {
  offset: number;
  length: number;
}

/** Where the pixels lie. `fragments` only for encapsulated data, without the basic offset table. */
export interface PixelDataElement extends ByteRange {
  tag: string;
  vr: string;
  encapsulated?: { basicOffsetTable: number[]; fragments: ByteRange[] };
}

/** A value too large to stand in the JSON: the caller may give its attribute a BulkDataURI. */
export interface BulkData extends ByteRange {
  /** Tag, or tag/item/tag… with items counted from 0. */
  path: string;
  vr: string;
}

/** What a data set holds. Group lengths and Pixel Data are not among the attributes. */
export interface ReadDataSet {
  attributes: DicomJson;
  pixelData?: PixelDataElement;
  bulkData: BulkData[];
  /** Offset of the first byte after the data set. */
  end: number;
}

/** Values of more bytes are left in the file unless the caller wants them. */
const bulkDataBytes = 64 * 1024;
/** PS3.18 F.2.6: the VRs that may stand behind a BulkDataURI. */
const bulkDataVRs = new Set('DS FD FL IS LT OB OD OF OL OV OW SL SS ST SV UC UL UN US UT UV'.split(' '));
/** LUT Data, at most 128 KiB, decide what a slice looks like; offset tables, where it lies. */
const alwaysInline = new Set(
  '00281201 00281202 00281203 00281221 00281222 00281223 00283006 7FE00001 7FE00002'.split(' '),
);
/** Pixel Data, Float Pixel Data, Double Float Pixel Data. */
const pixelDataTags = new Set(['7FE00010', '7FE00008', '7FE00009']);
const undefinedLength = 0xffffffff;
/** Deeper than any IOD, shallow enough for the stack. */
const maxDepth = 64;
const itemTag = 'FFFEE000';
const itemEndTag = 'FFFEE00D';
const sequenceEndTag = 'FFFEE0DD';

/** What a data set hands down to the items of its sequences. */
interface Context extends Encoding {
  characterSet: string;
  signed: boolean;
  path: string;
  depth: number;
}

interface ElementHeader extends ByteRange {
  tag: string;
  /** Of the tag. */
  start: number;
  vr: string;
  layout: ValueRepresentation;
  /** UN and its content are implicit little endian (PS3.5 6.2.2). */
  encoding: Encoding;
}

/** How VR and length follow a tag (PS3.5 tables 7.1-1 to 7.1-3): where the length is, and in how many bytes. */
const headerForms = {
  long: { lengthAt: 8, lengthBytes: 4 },
  short: { lengthAt: 6, lengthBytes: 2 },
  implicit: { lengthAt: 4, lengthBytes: 4 },
} as const;
type HeaderForm = keyof typeof headerForms;

/**
 * Reads the data set that starts at `start` into the DICOM JSON model (PS3.18 annex F). With `lastGroup`,
 * reading ends before the first attribute of a later group (file meta information).
 *
 * Where bytes contradict PS3.5 but can mean one thing only, they are read, as pydicom or DCMTK reads them:
 * attributes, items and data sets in implicit VR where explicit was announced and the reverse; VRs that there
 * are not; a delimiter at the end of an item or sequence of known length; an attribute that is repeated as it
 * was; zeros behind the last attribute. A number whose length does not fit its VR is kept as UN.
 *
 * @param inlineBytes values of more bytes become bulk data
 * @throws DicomError naming tag and offset: `truncated` where a length leads beyond the end, `malformed`
 *   where the bytes contradict PS3.5
 */
export function readDataSet(
  source: ByteSource,
  start: number,
  encoding: Encoding,
  lastGroup = 0xffff,
  inlineBytes = bulkDataBytes,
): ReadDataSet {
  return new DataSetReader(source, start, inlineBytes).readTop(encoding, lastGroup);
}

class DataSetReader {
  readonly #source: ByteSource;
  readonly #inlineBytes: number;
  readonly #bulkData: BulkData[] = [];
  #position: number;
  #pixelData: PixelDataElement | undefined;

  constructor(source: ByteSource, start: number, inlineBytes: number) {
    this.#source = source;
    this.#inlineBytes = inlineBytes;
    this.#position = start;
  }

  readTop(encoding: Encoding, lastGroup: number): ReadDataSet {
    const context = { ...encoding, characterSet: '', signed: false, path: '', depth: 0 };
    const attributes = this.#readAttributes(context, this.#source.size, false, lastGroup);
    return {
      attributes,
      ...(this.#pixelData && { pixelData: this.#pixelData }),
      bulkData: this.#bulkData,
      end: this.#position,
    };
  }

  /** To `end`, or to the item delimiter where the item's length is undefined. */
  #readAttributes(inherited: Context, end: number, delimited: boolean, lastGroup = 0xffff): DicomJson {
    const explicit = inherited.explicit || this.#isExplicit(inherited, end);
    const context = { ...inherited, explicit };
    const attributes: DicomJson = {};
    while (delimited || this.#position < end) {
      const start = this.#position;
      const tag = this.#peekTag(context, end);
      if (tag === itemEndTag && (delimited || (context.depth > 0 && start + 8 === end))) {
        this.#position += 8;
        break;
      }
      if (tag === '00000000' && context.depth === 0 && this.#onlyZerosFrom(start)) break;
      if (Number.parseInt(tag.slice(0, 4), 16) > lastGroup) break;
      // Behind Pixel Data stand only later tags (PS3.5 7.1); anything else is padding of the file.
      if (this.#pixelData && context.depth === 0 && tag <= this.#pixelData.tag) break;
      const element = this.#readElementHeader(context, end);
      if (context.depth === 0 && pixelDataTags.has(tag))
        this.#pixelData = this.#readPixelData(element, context);
      else {
        const attribute = this.#readAttribute(element, context, end);
        if (Object.hasOwn(attributes, tag) && !isDeepStrictEqual(attributes[tag], attribute))
          throw this.#error('malformed', 'attribute occurs twice with different values', tag, start);
        if (!tag.endsWith('0000')) attributes[tag] = attribute;
        if (tag === '00080005')
          context.characterSet = specificCharacterSet(
            (attribute.Value ?? []).map((value) => (typeof value === 'string' ? value : '')),
          );
        if (tag === '00280103') context.signed = attribute.Value?.[0] === 1;
      }
    }
    return attributes;
  }

  #readElementHeader(context: Context, end: number): ElementHeader {
    const start = this.#position;
    const tag = this.#peekTag(context, end);
    if (tag.startsWith('FFFE')) throw this.#error('malformed', 'delimiter outside of a sequence', tag, start);
    const written = context.explicit ? ascii(this.#take(4, 2, end, tag, start)) : '';
    const form = context.explicit ? this.#headerForm(written, tag, context, end) : 'implicit';
    const known = written !== 'UN' && valueRepresentation(written) !== undefined;
    const { lengthAt, lengthBytes } = headerForms[form];
    const length = this.#length(this.#take(lengthAt, lengthBytes, end, tag, start), context);
    let vr = known ? written : (dictionaryVR(tag, context.signed) ?? 'UN');
    let encoding: Encoding = context;
    if (form === 'implicit') encoding = { explicit: false, bigEndian: context.bigEndian };
    else if (form === 'long' && !known) {
      encoding = { explicit: false, bigEndian: false };
      if (length === undefinedLength) vr = 'SQ';
    }
    if (vr === 'UN' && length === undefinedLength) vr = 'SQ';
    this.#position = start + lengthAt + lengthBytes;
    return { tag, start, vr, layout: valueRepresentation(vr)!, encoding, offset: this.#position, length };
  }

  /**
   * How the header of an attribute in explicit VR is laid out. Behind a VR that PS3.5 does not know stands a
   * 32-bit length (PS3.5 7.1.2); writers that have no name for a VR put question marks or blanks and a 16-bit
   * length, or fall back to implicit VR, in sequences above all. What follows the value tells.
   */
  #headerForm(vr: string, tag: string, context: Encoding, end: number): HeaderForm {
    const layout = valueRepresentation(vr);
    if (layout) return layout.longLength ? 'long' : 'short';
    const forms: HeaderForm[] = ['implicit', 'short'];
    const form = forms.find((each) => this.#leadsOn(each, tag, context, end));
    if (/^[A-Z]{2}$/.test(vr)) return this.#leadsOn('long', tag, context, end) ? 'long' : (form ?? 'long');
    if (form) return form;
    throw this.#error('malformed', 'invalid value representation', tag, this.#position + 4);
  }

  /** Whether an implicit VR was announced and the first attribute has an explicit one. */
  #isExplicit(context: Encoding, end: number): boolean {
    if (this.#position + 8 > end) return false;
    const header = this.#source.read(this.#position, 8);
    if (!valueRepresentation(ascii(header.subarray(4, 6)))) return false;
    const tag = tagAt(this.#view(header), !context.bigEndian);
    return !tag.startsWith('FFFE') && !this.#leadsOn('implicit', tag, context, end);
  }

  /** Whether a header of this form leads to the end, to a delimiter, or to a later tag that can be one. */
  #leadsOn(form: HeaderForm, tag: string, context: Encoding, end: number): boolean {
    const { lengthAt, lengthBytes } = headerForms[form];
    const valueAt = this.#position + lengthAt + lengthBytes;
    if (valueAt > end) return false;
    const length = this.#length(this.#source.read(this.#position + lengthAt, lengthBytes), context);
    const next = valueAt + (length === undefinedLength ? 0 : length);
    if (next === end) return length !== undefinedLength;
    if (next + 8 > end) return false;
    const nextTag = tagAt(this.#view(this.#source.read(next, 4)), !context.bigEndian);
    if (length === undefinedLength) return nextTag === itemTag;
    return nextTag === itemEndTag || (nextTag > tag && couldBeTag(nextTag, tag));
  }

  #length(bytes: Uint8Array, { bigEndian }: Encoding): number {
    const view = this.#view(bytes);
    return bytes.length === 4 ? view.getUint32(0, !bigEndian) : view.getUint16(0, !bigEndian);
  }

  #onlyZerosFrom(start: number): boolean {
    for (let at = start; at < this.#source.size; at += bulkDataBytes) {
      const bytes = this.#source.read(at, Math.min(bulkDataBytes, this.#source.size - at));
      if (bytes.some((byte) => byte !== 0)) return false;
    }
    return true;
  }

  #readAttribute(element: ElementHeader, context: Context, end: number): DicomJsonAttribute {
    const { tag, start, vr, layout, offset } = element;
    const path = context.path + tag;
    if (layout.kind === 'sequence') {
      const Value = this.#readItems(element, { ...context, ...element.encoding, path: `${path}/` }, end);
      return Value.length === 0 ? { vr } : { vr, Value };
    }
    let { length } = element;
    if (length === undefinedLength) {
      if (layout.kind !== 'binary')
        throw this.#error('malformed', 'undefined length without items', tag, start);
      // An icon's compressed pixels, say: kept with their items.
      this.#readFragments(tag, context, end);
      length = this.#position - 8 - offset;
    } else {
      if (length > end - offset)
        throw this.#error('truncated', `value of ${length} bytes does not fit`, tag, start);
      this.#position = offset + length;
    }
    if (length === 0) return { vr };
    if (length > this.#inlineBytes && !alwaysInline.has(tag)) {
      if (!bulkDataVRs.has(vr)) throw this.#error('malformed', `${vr} of ${length} bytes`, tag, start);
      this.#bulkData.push({ path, vr, offset, length });
      return { vr };
    }
    const bytes = this.#source.read(offset, length);
    if (layout.kind === 'binary')
      return {
        vr,
        InlineBinary: base64(element.encoding.bigEndian ? swapped(bytes, layout.size!) : bytes),
      };
    if (layout.kind === 'text') {
      const Value = this.#textValues(bytes, element, context);
      return Value.length === 0 ? { vr } : { vr, Value };
    }
    if (length % layout.size! !== 0) return { vr: 'UN', InlineBinary: base64(bytes) };
    return { vr, Value: numbers(this.#view(bytes), vr, layout.size!, !element.encoding.bigEndian) };
  }

  #readItems(element: ElementHeader, context: Context, outerEnd: number): DicomJson[] {
    const { tag, start, length, offset } = element;
    if (context.depth >= maxDepth)
      throw this.#error('malformed', `sequences nested deeper than ${maxDepth}`, tag, start);
    const delimited = length === undefinedLength;
    if (!delimited && length > outerEnd - offset)
      throw this.#error('truncated', `sequence of ${length} bytes does not fit`, tag, start);
    const end = delimited ? outerEnd : offset + length;
    const items: DicomJson[] = [];
    while (delimited || this.#position < end) {
      const at = this.#position;
      const item = this.#readItemHeader(context, end, tag);
      if (item.tag === sequenceEndTag && (delimited || this.#position === end)) break;
      if (item.tag !== itemTag) throw this.#error('malformed', 'item expected', tag, at);
      const open = item.length === undefinedLength;
      if (!open && item.length > end - this.#position)
        throw this.#error('truncated', `item of ${item.length} bytes does not fit`, tag, at);
      const inner = { ...context, path: `${context.path}${items.length}/`, depth: context.depth + 1 };
      items.push(this.#readAttributes(inner, open ? end : this.#position + item.length, open));
    }
    return items;
  }

  #readPixelData(element: ElementHeader, context: Context): PixelDataElement {
    const { tag, vr, start, offset, length } = element;
    if (length !== undefinedLength) {
      const rest = this.#source.size - offset;
      if (length > rest)
        throw this.#error('truncated', `Pixel Data of ${length} bytes, ${rest} bytes left`, tag, start);
      this.#position = offset + length;
      return { tag, vr, offset, length };
    }
    const [table, ...fragments] = this.#readFragments(tag, context, this.#source.size);
    if (!table || table.length % 4 !== 0)
      throw this.#error('malformed', 'basic offset table expected', tag, offset);
    const view = this.#view(this.#source.read(table.offset, table.length));
    const basicOffsetTable = Array.from({ length: table.length / 4 }, (_, i) => view.getUint32(4 * i, true));
    return {
      tag,
      vr,
      offset,
      length: this.#position - offset,
      encapsulated: { basicOffsetTable, fragments },
    };
  }

  /** The items of a value of undefined length (PS3.5 A.4); moves behind its delimiter. */
  #readFragments(tag: string, context: Encoding, end: number): ByteRange[] {
    const fragments: ByteRange[] = [];
    while (true) {
      const at = this.#position;
      const item = this.#readItemHeader(context, end, tag);
      if (item.tag === sequenceEndTag) return fragments;
      if (item.tag !== itemTag) throw this.#error('malformed', 'fragment expected', tag, at);
      if (item.length > end - this.#position)
        throw this.#error('truncated', `fragment of ${item.length} bytes does not fit`, tag, at);
      fragments.push({ offset: this.#position, length: item.length });
      this.#position += item.length;
    }
  }

  /** Tag and length of an item or delimiter; moves behind them. */
  #readItemHeader(context: Encoding, end: number, sequence: string): { tag: string; length: number } {
    const start = this.#position;
    const view = this.#view(this.#take(0, 8, end, sequence, start));
    this.#position += 8;
    return { tag: tagAt(view, !context.bigEndian), length: view.getUint32(4, !context.bigEndian) };
  }

  #peekTag(context: Encoding, end: number): string {
    return tagAt(this.#view(this.#take(0, 4, end, undefined, this.#position)), !context.bigEndian);
  }

  #take(skip: number, length: number, end: number, tag: string | undefined, start: number): Uint8Array {
    const offset = this.#position + skip;
    if (offset + length > end) throw this.#error('truncated', 'data ends within an attribute', tag, start);
    return this.#source.read(offset, length);
  }

  #view(bytes: Uint8Array): DataView {
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #textValues(
    bytes: Uint8Array,
    { vr, layout, tag, start }: ElementHeader,
    context: Context,
  ): DicomJsonValue[] {
    let text;
    try {
      text = layout.localised ? decodeText(bytes, context.characterSet, vr) : ascii(bytes);
    } catch (error) {
      throw this.#error('malformed', (error as Error).message, tag, start);
    }
    const values = (layout.single ? [text] : text.split('\\')).map((value) => {
      const trimmed = value.replace(/[ \0]+$/, '');
      return layout.trimStart ? trimmed.trimStart() : trimmed;
    });
    if (values.every((value) => value === '')) return values.length === 1 ? [] : values.map(() => null);
    return values.map((value) => (value === '' ? null : textValue(value, vr)));
  }

  #error(reason: DicomErrorReason, detail: string, tag: string | undefined, offset: number): DicomError {
    return new DicomError(reason, detail, { ...(tag !== undefined && { tag }), offset });
  }
}

function tagAt(view: DataView, littleEndian: boolean): string {
  const hexadecimal = (offset: number) => view.getUint16(offset, littleEndian).toString(16).padStart(4, '0');
  return (hexadecimal(0) + hexadecimal(2)).toUpperCase();
}

/** Of an attribute that stands behind one of `before`: known to PS3.6, private, or the creator of private ones. */
function couldBeTag(tag: string, before: string): boolean {
  const group = tag.slice(0, 4);
  if (Number.parseInt(group, 16) % 2 === 0) return dictionaryVR(tag, false) !== undefined;
  return group === before.slice(0, 4) || dictionaryVR(tag, false) === 'LO';
}

const base64 = ({ buffer, byteOffset, length }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, length).toString('base64');

/** A DS or IS that is no number stays text: it is kept, and whoever needs the number sees that it is none. */
function textValue(value: string, vr: string): DicomJsonValue {
  if (vr === 'PN') {
    const [Alphabetic, Ideographic, Phonetic] = value.split('=').map((group) => group.trimEnd());
    return {
      ...(Alphabetic && { Alphabetic }),
      ...(Ideographic && { Ideographic }),
      ...(Phonetic && { Phonetic }),
    };
  }
  const number = vr === 'DS' || vr === 'IS' ? Number(value) : Number.NaN;
  return Number.isFinite(number) ? number : value;
}

function numbers(view: DataView, vr: string, size: number, littleEndian: boolean): DicomJsonValue[] {
  const read = (offset: number): number | bigint => {
    switch (vr) {
      case 'US':
        return view.getUint16(offset, littleEndian);
      case 'SS':
        return view.getInt16(offset, littleEndian);
      case 'UL':
        return view.getUint32(offset, littleEndian);
      case 'SL':
        return view.getInt32(offset, littleEndian);
      case 'UV':
        return view.getBigUint64(offset, littleEndian);
      case 'SV':
        return view.getBigInt64(offset, littleEndian);
      case 'FL':
        return view.getFloat32(offset, littleEndian);
      case 'FD':
        return view.getFloat64(offset, littleEndian);
      default: {
        // AT: group, then element
        return (
          (view.getUint16(offset, littleEndian) * 0x10000 + view.getUint16(offset + 2, littleEndian)) >>> 0
        );
      }
    }
  };
  return Array.from({ length: view.byteLength / size }, (_, index) => {
    const value = read(index * size);
    if (vr === 'AT') return value.toString(16).padStart(8, '0').toUpperCase();
    return jsonNumber(value);
  });
}

/** PS3.18 F.2.3: what JSON's number cannot hold is written as text. */
function jsonNumber(value: number | bigint): number | string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Infinity) return 'inf';
  if (value === -Infinity) return '-inf';
  const number = Number(value);
  return typeof value === 'bigint' && !Number.isSafeInteger(number) ? value.toString() : number;
}

/** `bytes` with the bytes of each word of `size` bytes reversed: big endian to little endian. */
export function swapped(bytes: Uint8Array, size: 1 | 2 | 4 | 8): Uint8Array {
  const copy = new Uint8Array(bytes);
  const words = Buffer.from(copy.buffer);
  if (size === 2) words.swap16();
  if (size === 4) words.swap32();
  if (size === 8) words.swap64();
  return copy;
}
