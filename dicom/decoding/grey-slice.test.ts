import { describeWith } from '../../fixtures/required-program.ts';
import type { DicomJson } from '../dicom-json.ts';
import { pydicom, python } from '../pydicom-reference.ts';
import type { DecodedFrame } from './frame.ts';
import { greyPixels } from './grey-slice.ts';

/** An error with these fields. */
const refusal = (fields: object): Error => expect.objectContaining(fields) as Error;

function frame(
  stored: Int16Array | Uint16Array | Uint8Array,
  changes: Partial<DecodedFrame> = {},
): DecodedFrame {
  const bits = 8 * stored.BYTES_PER_ELEMENT;
  return {
    rows: 1,
    columns: stored.length,
    samplesPerPixel: 1,
    bitsAllocated: bits,
    bitsStored: bits,
    highBit: bits - 1,
    signed: stored instanceof Int16Array,
    planar: false,
    photometricInterpretation: 'MONOCHROME2',
    pixelDataTag: '7FE00010',
    bytes: new Uint8Array(stored.buffer),
    ...changes,
  };
}

const ss = (...Value: number[]) => ({ vr: 'SS', Value });
const window = (center: number, width: number): DicomJson => ({
  '00281050': ss(center),
  '00281051': ss(width),
});
const grey = (...args: Parameters<typeof greyPixels>): number[] => [...greyPixels(...args)];

test('MONOCHROME1 is inverted after the window', () => {
  const stored = Uint8Array.of(0, 1, 128, 254, 255);
  expect(grey(frame(stored), window(128, 256))).toEqual([0, 1, 128, 254, 255]);
  const inverse = frame(stored, { photometricInterpretation: 'MONOCHROME1' });
  expect(grey(inverse, window(128, 256))).toEqual([255, 254, 127, 1, 0]);
});

test('bits outside of Bits Stored are masked, the sign is extended from High Bit', () => {
  // 12 bits stored with an overlay bit above; then 12 bits at High Bit 15.
  const overlay = frame(Uint16Array.of(0x8fff, 0x1000, 0x0800), { bitsStored: 12, highBit: 11 });
  expect(grey(overlay, window(2048, 4096))).toEqual([255, 0, 128]);
  const left = frame(Uint16Array.of(0xfff7, 0x0007, 0x8000), { bitsStored: 12, highBit: 15 });
  expect(grey(left, window(2048, 4096))).toEqual([255, 0, 128]);
  // 0x800 is −2048 and 0x7ff is 2047 in 12 bits, whatever the upper four hold.
  const signed = frame(Int16Array.of(0x0800, 0x07ff, 0), { bitsStored: 12, highBit: 11 });
  expect(grey(signed, window(0, 4096))).toEqual([0, 255, 128]);
});

test('padding is black, also in MONOCHROME1, and in no percentile', () => {
  const values = Int16Array.from({ length: 1000 }, (_, i) => (i < 400 ? -2000 : i));
  const padding = { '00280120': ss(-2000) };
  const pixels = grey(frame(values), padding);
  expect(pixels.slice(0, 400)).toEqual(new Array(400).fill(0));
  // 600 values 400…999: nearest ranks 3 and 597, so 402 is black and 996 white.
  expect([402, 699, 996].map((value) => pixels[value])).toEqual([0, 128, 255]);
  const inverse = grey(frame(values, { photometricInterpretation: 'MONOCHROME1' }), padding);
  expect([inverse[0], inverse[402], inverse[996]]).toEqual([0, 255, 0]);
  // The same value, written as US.
  expect(grey(frame(values), { '00280120': { vr: 'US', Value: [65536 - 2000] } })).toEqual(pixels);
  // A range in either order.
  const range = { '00280120': ss(500), '00280121': ss(-2000), ...window(700, 600) };
  expect(grey(frame(values), range).slice(0, 501)).toEqual(new Array(501).fill(0));
});

test('a frame of one value, or of padding alone, is black without a window', () => {
  expect(grey(frame(Uint8Array.of(7, 7, 7)), {})).toEqual([0, 0, 0]);
  expect(grey(frame(Uint8Array.of(7, 7)), { '00280120': ss(7) })).toEqual([0, 0]);
});

describeWith([python], 'numpy', () => {
  test('percentiles are those of the values after the modality LUT, by nearest rank', () => {
    const stored = Int16Array.from({ length: 5000 }, (_, i) => ((i * 7919) % 3001) - 1500);
    const [low, high] = pydicom(
      'v = numpy.array(input) * -2.0 + 10\noutput = numpy.percentile(v, [0.5, 99.5], method="inverted_cdf").tolist()',
      [...stored],
    ) as [number, number];
    const expected = Array.from(stored, (value) =>
      Math.round(255 * Math.min(Math.max((value * -2 + 10 - low) / (high - low), 0), 1)),
    );
    expect(grey(frame(stored), { '00281053': ss(-2), '00281052': ss(10) })).toEqual(expected);
  });
});

test('samples of 32 bits and floats go the same way', () => {
  const wide = new Uint32Array([0, 100_000, 200_000]);
  const changes = {
    bitsAllocated: 32,
    bitsStored: 32,
    highBit: 31,
    columns: 3,
    bytes: new Uint8Array(wide.buffer),
  };
  expect(grey(frame(new Uint8Array(3), changes), window(100_000.5, 200_001))).toEqual([0, 128, 255]);
  const floats = new Uint8Array(Float32Array.of(-1, 0, 1).buffer);
  const float = frame(new Uint8Array(3), { ...changes, bytes: floats, pixelDataTag: '7FE00008' });
  expect(grey(float, { ...window(0, 2), '00281056': { vr: 'CS', Value: ['LINEAR_EXACT'] } })).toEqual([
    0, 128, 255,
  ]);
});

describe('colour', () => {
  const rgb = { samplesPerPixel: 3, columns: 2, photometricInterpretation: 'RGB' };
  const stored = Uint8Array.of(255, 0, 0, 10, 10, 10);

  test('is refused unless luma is asked for', () => {
    expect(() => greyPixels(frame(stored, rgb), {})).toThrow(refusal({ reason: 'colour' }));
    expect(grey(frame(stored, rgb), {}, { colour: 'luma' })).toEqual([76, 10]);
    const planes = Uint8Array.of(255, 10, 0, 10, 0, 10);
    expect(grey(frame(planes, { ...rgb, planar: true }), {}, { colour: 'luma' })).toEqual([76, 10]);
  });

  test('a palette is looked up', () => {
    const table = (...entries: number[]) => ({
      vr: 'OW',
      InlineBinary: Buffer.from(Uint16Array.from(entries, (entry) => entry * 257).buffer).toString('base64'),
    });
    const palette: DicomJson = {
      ...Object.fromEntries(['1101', '1102', '1103'].map((tag) => [`0028${tag}`, ss(2, 5, 16)])),
      '00281201': table(255, 10),
      '00281202': table(0, 10),
      '00281203': table(0, 10),
    };
    const indices = frame(Uint8Array.of(4, 5, 6, 7), { photometricInterpretation: 'PALETTE COLOR' });
    expect(grey(indices, palette, { colour: 'luma' })).toEqual([76, 76, 10, 10]);
    expect(() => greyPixels(indices, { ...palette, '00281102': ss(2, 5) }, { colour: 'luma' })).toThrow(
      refusal({ reason: 'malformed', tag: '00281102' }),
    );
  });
});
