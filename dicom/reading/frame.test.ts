import { MemorySource } from './byte-source.ts';
import type { PixelDataElement } from './data-set.ts';
import { readStoredFrame } from './frame.ts';
import { imagePixel, type ImagePixel } from './image-pixel.ts';
import type { Instance } from './part10.ts';
import { transferSyntax } from './transfer-syntax.ts';

/** An error with these fields. */
const refusal = (fields: object): Error => expect.objectContaining(fields) as Error;

const us = (value: number) => ({ vr: 'US', Value: [value] });
const geometry = {
  '00280002': us(1),
  '00280004': { vr: 'CS', Value: ['MONOCHROME2'] },
  '00280010': us(2),
  '00280011': us(3),
  '00280100': us(8),
  '00280101': us(8),
  '00280102': us(7),
  '00280103': us(0),
};
const image: ImagePixel = imagePixel(geometry, '7FE00010');

/** Pixel Data of `bytes`, or of `fragments` behind an offset table. */
function instance(
  frames: number,
  pixels: Uint8Array | { fragments: string[]; basic?: number[]; extended?: [number, number][] },
  syntaxUID = '1.2.840.10008.1.2.1',
): Instance {
  const chunks: Buffer[] = [];
  const fragments: { offset: number; length: number }[] = [];
  let at = 0;
  if (!(pixels instanceof Uint8Array)) {
    for (const fragment of pixels.fragments) {
      chunks.push(Buffer.alloc(8), Buffer.from(fragment, 'hex'));
      const length = fragment.length / 2;
      fragments.push({ offset: at + 8, length });
      at += 8 + length;
    }
  }
  const bytes = pixels instanceof Uint8Array ? pixels : Buffer.concat(chunks);
  const extended = pixels instanceof Uint8Array ? undefined : pixels.extended;
  const table = (index: 0 | 1) =>
    Buffer.from(BigUint64Array.from(extended!, (entry) => BigInt(entry[index])).buffer).toString('base64');
  const pixelData: PixelDataElement = {
    tag: '7FE00010',
    vr: 'OW',
    offset: 0,
    length: bytes.length,
    ...(!(pixels instanceof Uint8Array) && {
      encapsulated: { basicOffsetTable: pixels.basic ?? [], fragments },
    }),
  };
  const header = {
    numberOfFrames: frames,
    dataset: {
      ...geometry,
      ...(extended && {
        '7FE00001': { vr: 'OV', InlineBinary: table(0) },
        '7FE00002': { vr: 'OV', InlineBinary: table(1) },
      }),
    },
  } as unknown as Instance['header'];
  return { header, syntax: transferSyntax(syntaxUID), source: new MemorySource(bytes), pixelData };
}

const frame = (source: Instance, number: number): string =>
  Buffer.from(readStoredFrame(source, image, number)).toString('hex');

const jpeg = '1.2.840.10008.1.2.4.50';
const a = 'ffd8ff01';
const b = 'ffd8ff02';
const tail = '00aa00ff';

describe('encapsulated frames (PS3.5 A.4)', () => {
  test.each([
    ['all fragments where there is one frame', 1, { fragments: [a, tail, b] }, [a + tail + b]],
    ['a fragment each', 2, { fragments: [a, b] }, [a, b]],
    ['by the basic offset table', 2, { fragments: [a, tail, b], basic: [0, 24] }, [a + tail, b]],
    [
      'by the start of each codestream, without a table',
      2,
      { fragments: [a, tail, b, tail] },
      [a + tail, b + tail],
    ],
    [
      'by the extended offset table, several fragments a frame',
      2,
      {
        fragments: [a, `${tail}d900`, b, tail],
        extended: [
          [0, 9],
          [26, 16],
        ] as [number, number][],
      },
      [`${a}${tail}d9`, b + tail],
    ],
    [
      'by the extended offset table, without padding',
      2,
      {
        fragments: [`${a}d900`, b],
        extended: [
          [0, 5],
          [14, 4],
        ] as [number, number][],
      },
      [`${a}d9`, b],
    ],
  ])('%s', (_name, frames, pixels, expected) => {
    const source = instance(frames, pixels, jpeg);
    expect(expected.map((_, i) => frame(source, i + 1))).toEqual(expected);
  });

  test.each([
    ['no fragments', 1, { fragments: [] }],
    ['a table that does not start at 0', 2, { fragments: [a, tail, b], basic: [12, 24] }],
    ['a table that points into a fragment', 2, { fragments: [a, tail, b], basic: [0, 20] }],
    ['a table of fewer frames', 2, { fragments: [a, tail, b], basic: [0] }],
    ['fewer codestreams than frames', 3, { fragments: [a, tail, b, tail] }],
    [
      'an extended table beyond a fragment',
      2,
      {
        fragments: [a, b],
        extended: [
          [0, 4],
          [12, 5],
        ] as [number, number][],
      },
    ],
    [
      'an extended table that points nowhere',
      2,
      {
        fragments: [a, b],
        extended: [
          [0, 4],
          [13, 4],
        ] as [number, number][],
      },
    ],
    ['an extended table of fewer frames', 2, { fragments: [a, b], extended: [[0, 4]] as [number, number][] }],
  ])('%s is refused', (_name, frames, pixels) => {
    expect(() => frame(instance(frames, pixels, jpeg), 2 > frames ? 1 : 2)).toThrow(
      refusal({ reason: 'malformed' }),
    );
  });

  test('native pixels in a compressed transfer syntax are refused', () => {
    expect(() => frame(instance(1, new Uint8Array(6), jpeg), 1)).toThrow(
      refusal({ reason: 'malformed', tag: '7FE00010' }),
    );
  });
});

describe('native frames', () => {
  const bytes = Uint8Array.from({ length: 12 }, (_, i) => i);

  test('are byte ranges', () => {
    expect([1, 2].map((number) => frame(instance(2, bytes), number))).toEqual([
      '000102030405',
      '060708090a0b',
    ]);
  });

  test('are swapped by words in big endian, also where a frame starts within a word (PS3.5 8.1.1)', () => {
    const odd = { ...image, rows: 1 };
    const source = instance(2, Uint8Array.of(1, 0, 3, 2, 5, 4), '1.2.840.10008.1.2.2');
    expect([1, 2].map((number) => [...readStoredFrame(source, odd, number)])).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ]);
  });

  test('of a Pixel Data that is too short are refused', () => {
    expect(() => frame(instance(3, bytes), 1)).toThrow(
      refusal({ reason: 'truncated', tag: '7FE00010', offset: 0 }),
    );
  });

  test('beyond Number of Frames are refused', () => {
    for (const number of [0, 3, 1.5])
      expect(() => frame(instance(2, bytes), number)).toThrow(refusal({ reason: 'no-frame' }));
  });
});

test('an Image Pixel module that contradicts itself is refused', () => {
  for (const [tag, value] of [
    ['00280010', 0],
    ['00280101', 9],
    ['00280102', 8],
    ['00280103', 2],
  ] as const)
    expect(() => imagePixel({ ...geometry, [tag]: us(value) }, '7FE00010')).toThrow(
      refusal({ reason: 'malformed', tag }),
    );
});
