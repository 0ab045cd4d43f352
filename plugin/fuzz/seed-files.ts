import { deflateRawSync } from 'node:zlib';
import { everyObject, SOURCES } from '../../dicom/writing/scored-study.fixture.ts';
import { writeCTSeries, writeMultiframe } from '../../fixtures/dicom-series.ts';
import type { Attributes } from '../../fixtures/part10.ts';
import { encodeTransferSyntax, transferSyntaxes } from '../../fixtures/transfer-syntax.ts';

/** A valid file that mutations start from. */
export interface SeedFile {
  name: string;
  bytes: Buffer;
}

const small = { rows: 16, columns: 24 };

/** What makes other forms of pixels of an 8-bit image of 16 × 24. */
const pixelForms: Record<string, Attributes> = {
  'single bits': { Columns: 23, BitsAllocated: 1, BitsStored: 1, HighBit: 0 },
  '24 bits': { Columns: 8, BitsAllocated: 24, BitsStored: 24, HighBit: 23 },
  YBR_FULL_422: {
    Columns: 8,
    SamplesPerPixel: 3,
    PlanarConfiguration: 0,
    PhotometricInterpretation: 'YBR_FULL_422',
  },
  'segmented palette': {
    PhotometricInterpretation: 'PALETTE COLOR',
    ...Object.fromEntries<unknown>(
      ['Red', 'Green', 'Blue'].flatMap((colour) => [
        [`${colour}PaletteColorLookupTableDescriptor`, [256, 0, 16]],
        [
          `Segmented${colour}PaletteColorLookupTableData`,
          new Uint16Array([0, 2, 100, 65535, 1, 126, 0, 2, 2, 0, 0]).buffer,
        ],
      ]),
    ),
  },
  'functional groups': {
    SharedFunctionalGroupsSequence: [
      {
        PixelMeasuresSequence: [{ PixelSpacing: [1, 1], SliceThickness: 1 }],
        PlaneOrientationSequence: [{ ImageOrientationPatient: [1, 0, 0, 0, 1, 0] }],
      },
    ],
    PerFrameFunctionalGroupsSequence: [0, 1, 2].map((index) => ({
      PlanePositionSequence: [{ ImagePositionPatient: [0, 0, index] }],
      FrameVOILUTSequence: [{ WindowCenter: 100, WindowWidth: 50 + index }],
      PixelValueTransformationSequence: [{ RescaleIntercept: 0, RescaleSlope: 1, RescaleType: 'US' }],
    })),
  },
};

/**
 * Small valid files: a CT with nested sequences and an 8-bit multi-frame in every syntax to be had, pixels in every
 * form, and the objects of a result.
 */
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
  for (const [name, attributes] of Object.entries(pixelForms)) {
    const { bytes } = await writeMultiframe(directory, { ...small, frames: 3, attributes });
    files.push({ name: `multi-frame of ${name}`, bytes: Buffer.from(bytes) });
  }
  for (const [name, { bytes }] of Object.entries(everyObject(SOURCES['MR volume']())))
    if (name.endsWith(' 1')) files.push({ name, bytes: Buffer.from(bytes) });
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
