import { DicomError } from '../reading/dicom-error.ts';
import type { ImagePixel } from '../reading/image-pixel.ts';

/**
 * Decodes an RLE frame (PS3.5 annex G): one PackBits segment a byte plane, most significant byte first, the
 * planes of one sample after those of the other. Every segment has to yield exactly rows × columns bytes.
 *
 * @returns little-endian samples, the samples of a pixel side by side
 * @throws DicomError `truncated` or `codec`
 */
export function decodeRle(encoded: Uint8Array, image: ImagePixel): Uint8Array {
  const bytesPerSample = image.bitsAllocated / 8;
  const pixels = image.rows * image.columns;
  const segments = bytesPerSample * image.samplesPerPixel;
  if (encoded.length < 64) throw new DicomError('truncated', 'RLE header does not fit', { tag: '7FE00010' });
  const header = new DataView(encoded.buffer, encoded.byteOffset, 64);
  if (segments > 15 || header.getUint32(0, true) !== segments)
    throw new DicomError('codec', `RLE frame needs ${segments} segments`, { tag: '7FE00010' });
  const decoded = new Uint8Array(pixels * segments);
  for (let segment = 0; segment < segments; segment++) {
    const sample = Math.floor(segment / bytesPerSample);
    const byte = bytesPerSample - 1 - (segment % bytesPerSample);
    const start = header.getUint32(4 + 4 * segment, true);
    const end = segment + 1 < segments ? header.getUint32(8 + 4 * segment, true) : encoded.length;
    if (start < 64 || start > end || end > encoded.length)
      throw new DicomError('truncated', `RLE segment ${segment + 1} does not fit`, { tag: '7FE00010' });
    unpack(encoded.subarray(start, end), decoded, sample * bytesPerSample + byte, segments, segment);
  }
  return decoded;
}

/** PackBits into every `stride`th byte from `first` on. Behind the last pixel may stand padding. */
function unpack(
  packed: Uint8Array,
  decoded: Uint8Array,
  first: number,
  stride: number,
  segment: number,
): void {
  let at = 0;
  let out = first;
  while (out < decoded.length) {
    const control = packed[at++] ?? -1;
    const count = control < 128 ? control + 1 : 257 - control;
    const literal = control < 128;
    if (control === 128) continue;
    if (control < 0 || at + (literal ? count : 1) > packed.length)
      throw new DicomError('truncated', `RLE segment ${segment + 1} ends early`, { tag: '7FE00010' });
    if (out + (count - 1) * stride >= decoded.length) throw tooLong(segment);
    for (let i = 0; i < count; i++, out += stride) decoded[out] = packed[literal ? at + i : at]!;
    at += literal ? count : 1;
  }
  if (packed.subarray(at).some((byte) => byte !== 0 && byte !== 128)) throw tooLong(segment);
}

function tooLong(segment: number): DicomError {
  return new DicomError('codec', `RLE segment ${segment + 1} is longer than the frame`, { tag: '7FE00010' });
}
