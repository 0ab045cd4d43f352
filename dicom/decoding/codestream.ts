/** What a compressed frame says about itself; checked before a decoder sees it. */
export interface CodestreamHeader {
  rows: number;
  columns: number;
  samplesPerPixel: number;
  /** Bits per sample of the first component. */
  precision: number;
  /** JPEG 2000 only: the first component is signed. */
  signed?: boolean;
  /** Ends with EOI or EOC, as it has to. */
  complete: boolean;
}

/**
 * The frame header of a JPEG or JPEG-LS stream (SOF, ITU-T T.81 B.2.2; T.87 C.2.2), or undefined where there
 * is none.
 */
export function jpegHeader(bytes: Uint8Array): CodestreamHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 4 || view.getUint16(0) !== 0xffd8) return undefined;
  for (let at = 2; at + 9 < bytes.length;) {
    if (bytes[at] !== 0xff) return undefined;
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at += 1; // fill byte
      continue;
    }
    // SOF0 to SOF15 without DHT, JPG and DAC; SOF55 is JPEG-LS.
    const startOfFrame =
      (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) || marker === 0xf7;
    if (startOfFrame)
      return {
        precision: bytes[at + 4],
        rows: view.getUint16(at + 5),
        columns: view.getUint16(at + 7),
        samplesPerPixel: bytes[at + 9],
        complete: endsWith(bytes, 0xd9),
      };
    at += 2 + view.getUint16(at + 2);
  }
  return undefined;
}

/** The SIZ marker of a JPEG 2000 codestream (ITU-T T.800 A.5.1), or undefined where there is none. */
export function jpeg2000Header(bytes: Uint8Array): CodestreamHeader | undefined {
  const siz = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf('ff4fff51', 0, 'hex');
  if (siz < 0 || siz + 44 > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + siz, bytes.length - siz);
  const depth = view.getUint8(42);
  return {
    columns: view.getUint32(8) - view.getUint32(16),
    rows: view.getUint32(12) - view.getUint32(20),
    samplesPerPixel: view.getUint16(40),
    precision: (depth & 0x7f) + 1,
    signed: depth >= 0x80,
    complete: endsWith(bytes, 0xd9),
  };
}

/** Whether the last marker is FF `marker`; fragments are padded to even length (PS3.5 A.4), some with FF. */
function endsWith(bytes: Uint8Array, marker: number): boolean {
  let end = bytes.length;
  while (end > 2 && (bytes[end - 1] === 0 || bytes[end - 1] === 0xff)) end -= 1;
  return bytes[end - 2] === 0xff && bytes[end - 1] === marker;
}
