import type { DicomJson } from '../dicom-json.ts';
import { DicomError } from '../reading/dicom-error.ts';
import { halvesChroma } from '../reading/image-pixel.ts';
import type { DecodedFrame } from './frame.ts';
import { paletteOf } from './palette.ts';
import { storedValues } from './samples.ts';

/**
 * The colours of a decoded frame: RGB, YBR_FULL, YBR_FULL_422, YBR_PARTIAL_422 or PALETTE COLOR. More than 8 bits
 * are scaled down.
 *
 * @param attributes of the frame, see `frameAttributes`
 * @returns rows × columns × 3, row by row, red, green, blue
 * @throws DicomError `unsupported` for another photometric interpretation
 */
export function rgbPixels(frame: DecodedFrame, attributes: DicomJson): Uint8Array {
  const { photometricInterpretation: photometric, samplesPerPixel } = frame;
  if (photometric === 'PALETTE COLOR' && samplesPerPixel === 1) return paletteColours(frame, attributes);
  if (samplesPerPixel === 3) {
    if (photometric === 'RGB') return interleaved(frame);
    if (photometric === 'YBR_FULL') return rgbFromYbr(interleaved(frame), fullRange);
    if (halvesChroma(photometric)) {
      const samples = byteSamples(frame);
      // Native frames hold Y Y Cb Cr for two pixels (PS3.3 C.7.6.3.1.2), decoded ones a triple for each.
      const ybr =
        samples.length < 3 * frame.rows * frame.columns ? upsampled(samples, frame) : interleaved(frame);
      return rgbFromYbr(ybr, photometric === 'YBR_PARTIAL_422' ? partialRange : fullRange);
    }
  }
  throw new DicomError('unsupported', `colours of ${photometric}, ${samplesPerPixel} samples`, {
    tag: '00280004',
  });
}

/** ITU-R BT.601 luma of RGB triples. */
export function luma(rgb: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: rgb.length / 3 }, (_, i) =>
    Math.round(0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2]),
  );
}

/** The samples in their order, the upper 8 of the bits stored. */
function byteSamples(frame: DecodedFrame): Uint8Array {
  if (frame.bitsAllocated === 8 && frame.bitsStored === 8) return frame.bytes;
  const values = storedValues(frame);
  return Uint8Array.from(values, (value) => Math.floor((value * 255) / (2 ** frame.bitsStored - 1) + 0.5));
}

function interleaved(frame: DecodedFrame): Uint8Array {
  const samples = byteSamples(frame);
  if (!frame.planar) return samples;
  const pixels = frame.rows * frame.columns;
  return Uint8Array.from({ length: 3 * pixels }, (_, i) => samples[(i % 3) * pixels + Math.floor(i / 3)]);
}

function upsampled(samples: Uint8Array, { rows, columns }: DecodedFrame): Uint8Array {
  const ybr = new Uint8Array(3 * rows * columns);
  for (let pixel = 0; pixel < rows * columns; pixel++) {
    const pair = (pixel >> 1) * 4;
    ybr.set([samples[pair + (pixel & 1)], samples[pair + 2], samples[pair + 3]], 3 * pixel);
  }
  return ybr;
}

/** Black, and what one step of Y, Cb and Cr means in red, green and blue. */
interface YbrRange {
  black: number;
  y: number;
  redCr: number;
  greenCb: number;
  greenCr: number;
  blueCb: number;
}

/** The inverse of the equations of PS3.3 C.7.6.3.1.2 for YBR_FULL. */
const fullRange: YbrRange = {
  black: 0,
  y: 1,
  redCr: 1.402,
  greenCb: 0.344136,
  greenCr: 0.714136,
  blueCb: 1.772,
};
/** The same for YBR_PARTIAL (PS3.3 up to 2016): Y from 16 to 235, Cb and Cr from 16 to 240. */
const partialRange: YbrRange = {
  black: 16,
  y: 255 / 219,
  redCr: (1.402 * 255) / 224,
  greenCb: (0.344136 * 255) / 224,
  greenCr: (0.714136 * 255) / 224,
  blueCb: (1.772 * 255) / 224,
};

function rgbFromYbr(ybr: Uint8Array, range: YbrRange): Uint8Array {
  const rgb = new Uint8ClampedArray(ybr.length);
  for (let i = 0; i < ybr.length; i += 3) {
    const y = range.y * (ybr[i] - range.black);
    const [cb, cr] = [ybr[i + 1] - 128, ybr[i + 2] - 128];
    rgb[i] = y + range.redCr * cr;
    rgb[i + 1] = y - range.greenCb * cb - range.greenCr * cr;
    rgb[i + 2] = y + range.blueCb * cb;
  }
  return new Uint8Array(rgb.buffer);
}

function paletteColours(frame: DecodedFrame, attributes: DicomJson): Uint8Array {
  const { firstValue, red, green, blue } = paletteOf(attributes);
  const stored = storedValues(frame);
  const rgb = new Uint8Array(3 * stored.length);
  for (let i = 0; i < stored.length; i++) {
    const index = Math.min(Math.max(stored[i] - firstValue, 0), red.length - 1);
    rgb[3 * i] = red[index];
    rgb[3 * i + 1] = green[index];
    rgb[3 * i + 2] = blue[index];
  }
  return rgb;
}
