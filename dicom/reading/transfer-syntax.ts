import type { Encoding } from './data-set.ts';

/** A decoder by the name of the standard that it implements. */
export type Codec = 'rle' | 'jpeg' | 'jpeg-ls' | 'jpeg-2000' | 'htj2k';

/** How instances of a transfer syntax are stored (PS3.5 annex A). */
export interface TransferSyntax extends Encoding {
  uid: string;
  deflated: boolean;
  /** Absent for native pixels, and for compressions that have no decoder here. */
  codec?: Codec;
  /** Of one frame as stored (PS3.18 table 8.7.3-2 and 8.7.3-5). */
  mediaType: string;
}

const native = 'application/octet-stream';
export const implicitLittleEndian = '1.2.840.10008.1.2';
export const explicitLittleEndian = '1.2.840.10008.1.2.1';
export const explicitBigEndian = '1.2.840.10008.1.2.2';

const syntaxes: Record<string, Partial<TransferSyntax>> = {
  [implicitLittleEndian]: { explicit: false },
  [explicitLittleEndian]: {},
  '1.2.840.10008.1.2.1.99': { deflated: true },
  [explicitBigEndian]: { bigEndian: true },
  '1.2.840.10008.1.2.4.50': { codec: 'jpeg', mediaType: 'image/jpeg' },
  '1.2.840.10008.1.2.4.51': { codec: 'jpeg', mediaType: 'image/jpeg' },
  '1.2.840.10008.1.2.4.57': { codec: 'jpeg', mediaType: 'image/jpeg' },
  '1.2.840.10008.1.2.4.70': { codec: 'jpeg', mediaType: 'image/jpeg' },
  '1.2.840.10008.1.2.4.80': { codec: 'jpeg-ls', mediaType: 'image/jls' },
  '1.2.840.10008.1.2.4.81': { codec: 'jpeg-ls', mediaType: 'image/jls' },
  '1.2.840.10008.1.2.4.90': { codec: 'jpeg-2000', mediaType: 'image/jp2' },
  '1.2.840.10008.1.2.4.91': { codec: 'jpeg-2000', mediaType: 'image/jp2' },
  '1.2.840.10008.1.2.4.92': { mediaType: 'image/jpx' },
  '1.2.840.10008.1.2.4.93': { mediaType: 'image/jpx' },
  '1.2.840.10008.1.2.4.201': { codec: 'htj2k', mediaType: 'image/jphc' },
  '1.2.840.10008.1.2.4.202': { codec: 'htj2k', mediaType: 'image/jphc' },
  '1.2.840.10008.1.2.4.203': { codec: 'htj2k', mediaType: 'image/jphc' },
  '1.2.840.10008.1.2.5': { codec: 'rle', mediaType: 'image/dicom-rle' },
};

/**
 * The layout of a transfer syntax. One that is not in the table is read as explicit VR little endian, which
 * PS3.5 A.4 demands of every encapsulated one; its frames cannot be decoded here.
 */
export function transferSyntax(uid: string): TransferSyntax {
  const defaults = { explicit: true, bigEndian: false, deflated: false, mediaType: native };
  return { uid, ...defaults, ...(Object.hasOwn(syntaxes, uid) ? syntaxes[uid] : undefined) };
}

/** Every transfer syntax whose frames can be decoded here; the ones that cost the least first. */
export const readableTransferSyntaxes: readonly string[] = [
  explicitLittleEndian,
  ...Object.keys(syntaxes).filter((uid) => {
    const { codec, mediaType } = syntaxes[uid];
    return uid !== explicitLittleEndian && (codec !== undefined || mediaType === undefined);
  }),
];
