import { deflateRawSync } from 'node:zlib';
import { writeCTSeries, writeMultiframe } from '../../fixtures/dicom-series.ts';
import { encodeTransferSyntax, transferSyntaxes } from '../../fixtures/transfer-syntax.ts';

/** A valid file that mutations start from. */
export interface SeedFile {
  name: string;
  bytes: Buffer;
}

const small = { rows: 16, columns: 24 };

/** Small valid files: a CT with nested sequences and an 8-bit multi-frame in every syntax to be had. */
export async function seedFiles(directory: string): Promise<SeedFile[]> {
  const code = { CodeValue: '1', CodingSchemeDesignator: '99QFAE', CodeMeaning: 'one' };
  const attributes = { ProcedureCodeSequence: [{ ...code, EquivalentCodeSequence: [code, code] }] };
  const [ct] = await writeCTSeries(directory, { ...small, slices: 1, attributes });
  const [withTables] = await writeCTSeries(directory, {
    ...small,
    slices: 1,
    attributes: {
      ...attributes,
      PixelPaddingValue: 0,
      PixelPaddingRangeLimit: 20,
      VOILUTSequence: [{ LUTDescriptor: [4, 0, 8], LUTData: new Uint16Array([0, 80, 160, 255]).buffer }],
    },
  });
  const us = await writeMultiframe(directory, { ...small, frames: 3 });
  const files: SeedFile[] = [
    { name: 'CT deflated', bytes: deflated(Buffer.from(ct.bytes)) },
    { name: 'CT with tables', bytes: Buffer.from(withTables.bytes) },
  ];
  for (const [syntax, uid] of Object.entries(transferSyntaxes)) {
    if (syntax !== 'jpegBaseline')
      files.push({ name: `CT ${syntax}`, bytes: Buffer.from(await encodeTransferSyntax(ct.bytes, uid)) });
    files.push({
      name: `multi-frame ${syntax}`,
      bytes: Buffer.from(await encodeTransferSyntax(us.bytes, uid)),
    });
  }
  return files;
}

/** An explicit little endian Part 10 file as Deflated Explicit VR Little Endian (PS3.5 A.5). */
export function deflated(explicit: Buffer): Buffer {
  const end = metaEnd(explicit);
  const uid = Buffer.from('1.2.840.10008.1.2.1.99');
  const at = explicit.indexOf('1.2.840.10008.1.2.1\0', 132);
  const meta = Buffer.concat([explicit.subarray(0, at), uid, explicit.subarray(at + 20, end)]);
  meta.writeUInt16LE(uid.length, at - 2);
  meta.writeUInt32LE(meta.length - 144, 140);
  return Buffer.concat([meta, deflateRawSync(explicit.subarray(end))]);
}

/** Where the data set begins, by the group length of the file meta information (PS3.10 table 7.1-1). */
export function metaEnd(file: Buffer): number {
  return 144 + file.readUInt32LE(140);
}
