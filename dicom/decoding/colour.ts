import type { DicomJson } from '../dicom-json.ts';
import { attributeOf, numbersOf } from '../reading/attribute.ts';
import { DicomError } from '../reading/dicom-error.ts';
import type { DecodedFrame } from './frame.ts';
import { storedValues } from './samples.ts';

/**
 * The colours of a decoded frame: RGB, YBR_FULL, YBR_FULL_422 with 8 bits a sample, or PALETTE COLOR.
 *
 * @param attributes of the frame, see `frameAttributes`
 * @returns rows × columns × 3, row by row, red, green, blue
 * @throws DicomError `unsupported` for another photometric interpretation or depth
 */
export function rgbPixels(frame: DecodedFrame, attributes: DicomJson): Uint8Array {
  const { photometricInterpretation: photometric, bitsAllocated, samplesPerPixel } = frame;
  if (photometric === 'PALETTE COLOR' && samplesPerPixel === 1) return paletteColours(frame, attributes);
  if (bitsAllocated === 8 && samplesPerPixel === 3) {
    if (photometric === 'RGB') return interleaved(frame);
    if (photometric === 'YBR_FULL') return rgbFromYbr(interleaved(frame));
    if (photometric === 'YBR_FULL_422')
      // Native frames hold Y Y Cb Cr for two pixels (PS3.3 C.7.6.3.1.2), decoded ones a triple for each.
      return rgbFromYbr(
        frame.bytes.length < 3 * frame.rows * frame.columns ? upsampled(frame) : interleaved(frame),
      );
  }
  throw new DicomError('unsupported', `colours of ${photometric}, ${bitsAllocated} bits`, {
    tag: '00280004',
  });
}

/** ITU-R BT.601 luma of RGB triples. */
export function luma(rgb: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: rgb.length / 3 }, (_, i) =>
    Math.round(0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2]),
  );
}

function interleaved({ bytes, rows, columns, planar }: DecodedFrame): Uint8Array {
  if (!planar) return bytes;
  const pixels = rows * columns;
  return Uint8Array.from({ length: 3 * pixels }, (_, i) => bytes[(i % 3) * pixels + Math.floor(i / 3)]);
}

function upsampled({ bytes, rows, columns }: DecodedFrame): Uint8Array {
  const ybr = new Uint8Array(3 * rows * columns);
  for (let pixel = 0; pixel < rows * columns; pixel++) {
    const pair = (pixel >> 1) * 4;
    ybr.set([bytes[pair + (pixel & 1)], bytes[pair + 2], bytes[pair + 3]], 3 * pixel);
  }
  return ybr;
}

/** The inverse of the equations of PS3.3 C.7.6.3.1.2. */
function rgbFromYbr(ybr: Uint8Array): Uint8Array {
  const rgb = new Uint8ClampedArray(ybr.length);
  for (let i = 0; i < ybr.length; i += 3) {
    const [y, cb, cr] = [ybr[i], ybr[i + 1] - 128, ybr[i + 2] - 128];
    rgb[i] = y + 1.402 * cr;
    rgb[i + 1] = y - 0.344136 * cb - 0.714136 * cr;
    rgb[i + 2] = y + 1.772 * cb;
  }
  return new Uint8Array(rgb.buffer);
}

/** Palette Color Lookup Tables (PS3.3 C.7.6.3.1.5 and 6); segmented ones are not read. */
function paletteColours(frame: DecodedFrame, attributes: DicomJson): Uint8Array {
  const tables = ['1101', '1102', '1103'].map((element, i) => {
    const descriptor = numbersOf(attributes, `0028${element}`);
    const [count, firstValue, bits] = descriptor;
    if (descriptor.length !== 3 || (bits !== 8 && bits !== 16))
      throw new DicomError('malformed', 'palette descriptor is not three values with 8 or 16 bits', {
        tag: `0028${element}`,
      });
    const data = attributeOf(attributes, `0028120${i + 1}`)?.InlineBinary;
    // As in a LUT Descriptor, see `lookupTable`.
    const length = (count & 0xffff) === 0 ? 65536 : count & 0xffff;
    const bytes = Buffer.from(data ?? '', 'base64');
    // 8-bit entries may be packed two in a word; 16-bit ones are scaled down.
    const packed = bits === 8 && bytes.length < 2 * length;
    if (bytes.length < (packed ? length : 2 * length) || bytes.length === 0)
      throw new DicomError('unsupported', 'no complete palette', { tag: `0028120${i + 1}` });
    return (stored: number): number => {
      const index = Math.min(Math.max(stored - firstValue, 0), length - 1);
      return packed ? bytes[index] : bytes.readUInt16LE(2 * index) >> (bits - 8);
    };
  });
  const stored = storedValues(frame);
  return Uint8Array.from({ length: 3 * stored.length }, (_, i) => tables[i % 3](stored[Math.floor(i / 3)]));
}
