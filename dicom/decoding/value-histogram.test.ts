import { dataSet } from '../writing/keyword.ts';
import { writePart10 } from '../writing/write-part10.ts';
import { MemorySource } from '../reading/byte-source.ts';
import { readInstance } from '../reading/part10.ts';
import { reducedSlice } from './reduced-slice.ts';
import { frameHistogram, ValueHistogram } from './value-histogram.ts';

/** A frame of signed 16-bit values, 2 units each from −100 on, where −9 is padding. */
function instance(rows: number, columns: number, stored: number[]) {
  const dataset = dataSet({
    SOPClassUID: '1.2.840.10008.5.1.4.1.1.2',
    SOPInstanceUID: '1.2.3',
    StudyInstanceUID: '1.2.4',
    SeriesInstanceUID: '1.2.5',
    SamplesPerPixel: 1,
    PhotometricInterpretation: 'MONOCHROME2',
    Rows: rows,
    Columns: columns,
    BitsAllocated: 16,
    BitsStored: 16,
    HighBit: 15,
    PixelRepresentation: 1,
    PixelPaddingValue: -9,
    RescaleSlope: 2,
    RescaleIntercept: -100,
  });
  const bytes = new Uint8Array(Int16Array.from(stored).buffer);
  return readInstance(new MemorySource(writePart10(dataset, { '7FE00010': { vr: 'OW', bytes } })));
}

const histogramOf = async (...frames: Parameters<typeof frameHistogram>[]) => {
  const histogram = new ValueHistogram();
  for (const frame of frames) histogram.add(await frameHistogram(...frame));
  return histogram;
};

test('percentiles are those of the values of all frames, by nearest rank', async () => {
  const first = instance(2, 5, [0, 1, 2, 3, 4, 5, 6, 7, -9, -9]);
  const second = instance(1, 3, [-40, 50, 1000]);
  const histogram = await histogramOf([first, 1], [second, 1]);
  // In order: −180, −100, −98, … −86, 0, 1900.
  expect(histogram.total).toBe(11);
  const percentiles = [0, 9, 10, 50, 90, 91, 100].map((percent) => histogram.percentile(percent));
  expect(percentiles).toEqual([-180, -180, -100, -92, 0, 1900, 1900]);
  expect(histogram.share(-100, -86)).toBeCloseTo(8 / 11);
});

test('what the mask leaves out and what is background does not count', async () => {
  const image = instance(1, 6, [0, 0, 10, 20, 30, 40]);
  const masked = await histogramOf([image, 1, { mask: Uint8Array.of(1, 1, 1, 1, 0, 0) }]);
  expect([masked.total, masked.percentile(100)]).toEqual([4, -60]);
  expect(masked.mode()).toEqual({ value: -100, share: 0.5 });
  const organ = await histogramOf([image, 1, { background: [-Infinity, -80] }]);
  expect([organ.total, organ.percentile(0)]).toEqual([3, -60]);
  const none = await histogramOf([image, 1, { background: [-Infinity, Infinity] }]);
  expect([none.total, none.percentile(50), none.mode()]).toEqual([0, undefined, undefined]);
  await expect(histogramOf([image, 1, { mask: new Uint8Array(5) }])).rejects.toThrow('a mask of 5');
});

test('any float is kept to a part in 8000', () => {
  for (const value of [0, 1, -1, 8191, -8191, 1 / 3, -1e-6, 123_456.789, -9.87e8]) {
    const histogram = new ValueHistogram();
    // The bins of a histogram are those of any other.
    const [bits] = new Uint32Array(Float32Array.of(value).buffer);
    const ordered = bits >= 0x80000000 ? 0xffffffff - (bits + 1024) : bits + 1024 + 0x80000000;
    histogram.add({ bins: Uint32Array.of(Math.floor(ordered / 2048)), counts: Uint32Array.of(3) });
    expect(Math.abs(histogram.percentile(50)! - value)).toBeLessThanOrEqual(Math.abs(value) / 8000);
  }
});

test('a reduced slice has the means of blocks, without padding', async () => {
  const image = instance(4, 5, [0, 2, 4, 4, 9, 4, 6, 4, -9, 9, -9, -9, 1, 1, 9, -9, -9, 1, 1, 9]);
  expect(await reducedSlice(image, 1, 2)).toEqual({
    rows: 2,
    columns: 2,
    pixels: Float32Array.of(-94, -92, NaN, -98),
  });
});
