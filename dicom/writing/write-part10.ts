import dcmjs from 'dcmjs';
import { stringOf } from './keyword.ts';
import { decimalString } from './decimal-string.ts';
import type { DicomJson, DicomJsonAttribute, DicomJsonValue } from '../dicom-json.ts';
import { isUID } from '../uid.ts';

/** Of this writer, in the file meta information (PS3.7 D.3.3.2): a fixed UID under 2.25. */
export const IMPLEMENTATION_CLASS_UID = '2.25.137795686458505611234497828443890529548';
export const IMPLEMENTATION_VERSION_NAME = 'QFAE';
const EXPLICIT_VR_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';

/** Bulk values by tag, of which base64 would only make copies: pixel data. */
export type BulkValues = Record<string, { vr: 'OB' | 'OW' | 'OF'; bytes: Uint8Array }>;

/**
 * Writes a data set as a Part 10 file (PS3.10), explicit VR little endian, text in UTF-8. The same input gives
 * the same bytes. Attributes without a value are written empty. Throws where the SOP class or instance UID is
 * missing or malformed, or where a value lies outside of the data set (BulkDataURI).
 */
export function writePart10(dataset: DicomJson, bulkValues: BulkValues = {}): Uint8Array {
  const file = new dcmjs.data.DicomDict({
    '00020001': { vr: 'OB', Value: [new Uint8Array([0, 1]).buffer] },
    '00020002': { vr: 'UI', Value: [requiredUid(dataset, 'SOPClassUID')] },
    '00020003': { vr: 'UI', Value: [requiredUid(dataset, 'SOPInstanceUID')] },
    '00020010': { vr: 'UI', Value: [EXPLICIT_VR_LITTLE_ENDIAN] },
    '00020012': { vr: 'UI', Value: [IMPLEMENTATION_CLASS_UID] },
    '00020013': { vr: 'SH', Value: [IMPLEMENTATION_VERSION_NAME] },
  });
  file.dict = elements(dataset);
  file.dict['00080005'] = { vr: 'CS', Value: ['ISO_IR 192'] };
  for (const [tag, { vr, bytes }] of Object.entries(bulkValues)) {
    file.dict[tag] = { vr, Value: [arrayBuffer(bytes)] };
  }
  // Forms were checked where attributes were made; dcmjs would name a patient's data in its own messages.
  return new Uint8Array(file.write({ allowInvalidVRLength: true }));
}

function requiredUid(dataset: DicomJson, keyword: string): string {
  const uid = stringOf(dataset, keyword) ?? '';
  if (!isUID(uid)) throw new RangeError(`${keyword} is missing or no UID`);
  return uid;
}

function elements(dataset: DicomJson): Record<string, { vr: string; Value: unknown[] }> {
  return Object.fromEntries(
    Object.entries(dataset).map(([tag, attribute]) => [
      tag,
      { vr: attribute.vr, Value: elementValues(tag, attribute) },
    ]),
  );
}

function elementValues(tag: string, { vr, Value, InlineBinary, BulkDataURI }: DicomJsonAttribute): unknown[] {
  if (BulkDataURI !== undefined) throw new Error(`attribute ${tag} is given by BulkDataURI, not by value`);
  if (InlineBinary !== undefined) return [arrayBuffer(Buffer.from(InlineBinary, 'base64'))];
  return (Value ?? []).map((value) => elementValue(vr, value));
}

function elementValue(vr: string, value: DicomJsonValue): unknown {
  if (vr === 'SQ') return elements(value as DicomJson);
  // dcmjs would take the tag's digits for a decimal number.
  if (vr === 'AT') return Number.parseInt(value as string, 16);
  // PS3.18 F.2.3 writes what JSON's number cannot hold as text.
  if (vr === 'FL' || vr === 'FD')
    return value === 'inf' ? Infinity : value === '-inf' ? -Infinity : Number(value);
  if (typeof value === 'number' && (vr === 'DS' || vr === 'IS')) return decimalString(value);
  return value ?? '';
}

/** dcmjs takes a whole ArrayBuffer, never a window into one: a Buffer's is Node's pool, with other data around. */
function arrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
