import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from './write-part10.ts';

/**
 * What stands before a data set in a Part 10 file (PS3.10 section 7.1): preamble, prefix and file meta information.
 * The data set itself can follow as it came over the network.
 */
export function fileHead(instance: {
  sopClassUID: string;
  sopInstanceUID: string;
  transferSyntaxUID: string;
  /** AE title of the sender. */
  sourceAETitle: string;
}): Buffer {
  const elements = Buffer.concat([
    Buffer.from([2, 0, 1, 0, 0x4f, 0x42, 0, 0, 2, 0, 0, 0, 0, 1]), // FileMetaInformationVersion, OB
    element(0x0002, 'UI', instance.sopClassUID),
    element(0x0003, 'UI', instance.sopInstanceUID),
    element(0x0010, 'UI', instance.transferSyntaxUID),
    element(0x0012, 'UI', IMPLEMENTATION_CLASS_UID),
    element(0x0013, 'SH', IMPLEMENTATION_VERSION_NAME),
    element(0x0016, 'AE', instance.sourceAETitle),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(elements.length);
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    Buffer.from([2, 0, 0, 0, 0x55, 0x4c, 4, 0]), // FileMetaInformationGroupLength, UL
    length,
    elements,
  ]);
}

/** Where the data set of a Part 10 file that this node wrote begins. */
export function dataSetOffset(file: Uint8Array): number {
  const groupLength = 128 + 4;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(groupLength, true) !== 0x00000002) throw new Error('file meta without its group length');
  return groupLength + 12 + view.getUint32(groupLength + 8, true);
}

/** A text element of group 0002, explicit VR little endian, of even length (PS3.5 section 6.2). */
function element(number: number, vr: 'UI' | 'SH' | 'AE', text: string): Buffer {
  const value = Buffer.from(text.length % 2 === 0 ? text : text + (vr === 'UI' ? '\0' : ' '), 'latin1');
  const head = Buffer.alloc(8);
  head.writeUInt16LE(0x0002, 0);
  head.writeUInt16LE(number, 2);
  head.write(vr, 4, 'latin1');
  head.writeUInt16LE(value.length, 6);
  return Buffer.concat([head, value]);
}
