import type { DicomJson } from './dicom-json.ts';
import type { InstanceHeader } from './reading/part10.ts';
import { orderSeries } from './series.ts';

const ds = (...Value: number[]) => ({ vr: 'DS', Value });
const text = (...Value: string[]) => ({ vr: 'CS', Value });
const sq = (...Value: DicomJson[]) => ({ vr: 'SQ', Value });

function header(changes: DicomJson = {}, numberOfFrames = 1): InstanceHeader {
  const dataset: DicomJson = {
    '00080008': text('ORIGINAL', 'PRIMARY'),
    '00080060': text('MR'),
    '00280002': ds(1),
    '00280004': text('MONOCHROME2'),
    '00280008': ds(numberOfFrames),
    '00280010': ds(64),
    '00280011': ds(80),
    ...changes,
  };
  return { dataset, numberOfFrames, hasPixelData: numberOfFrames > 0 } as InstanceHeader;
}

const plane = (position: number[], orientation = [1, 0, 0, 0, 1, 0]): DicomJson => ({
  '00200032': ds(...position),
  '00200037': ds(...orientation),
  '00200052': text('1.2.3'),
  '00280030': ds(1, 1),
});

test('slices are ordered along the normal, whatever their numbers and the direction of their positions', () => {
  const headers = [30, 10, 20].map((z, i) => header({ ...plane([5, 5, z]), '00200013': ds(i) }));
  expect(orderSeries(headers)).toEqual({
    slices: [
      { index: 1, frame: 1, position: 10 },
      { index: 2, frame: 1, position: 20 },
      { index: 0, frame: 1, position: 30 },
    ],
  });
  // Sagittal: row along +y, column along −z, normal along −x.
  const sagittal = [-4, 6].map((x) => header(plane([x, 0, 0], [0, 1, 0, 0, 0, -1])));
  expect(orderSeries(sagittal)).toMatchObject({
    slices: [
      { index: 1, position: -6 },
      { index: 0, position: 4 },
    ],
  });
});

test('planes at one position keep the order of their numbers', () => {
  const headers = [4, 3, 2, 1].map((number, i) =>
    header({ ...plane([0, 0, i % 2]), '00200013': ds(number) }),
  );
  expect(orderSeries(headers)).toMatchObject({ slices: [2, 0, 3, 1].map((index) => ({ index })) });
});

test('without geometry, Instance Number and frame decide', () => {
  const headers = [header({ '00200013': ds(2) }, 2), header({ '00200013': ds(1) })];
  expect(orderSeries(headers)).toEqual({
    slices: [
      { index: 1, frame: 1 },
      { index: 0, frame: 1 },
      { index: 0, frame: 2 },
    ],
  });
});

test('frames of an enhanced object are ordered by their own positions', () => {
  const enhanced = header(
    {
      '00200052': text('1.2.3'),
      '52009229': sq({
        '00209116': sq({ '00200037': ds(1, 0, 0, 0, 1, 0) }),
        '00289110': sq({ '00280030': ds(1, 1) }),
      }),
      '52009230': sq(...[9, 3, 6].map((z) => ({ '00209113': sq({ '00200032': ds(0, 0, z) }) }))),
    },
    3,
  );
  expect(orderSeries([enhanced])).toEqual({
    slices: [
      { index: 0, frame: 2, position: 3 },
      { index: 0, frame: 3, position: 6 },
      { index: 0, frame: 1, position: 9 },
    ],
  });
});

test('a tilt within the tolerance is one orientation', () => {
  const tilted = [0.9999999, 0, 0.0004, 0, 1, 0];
  const headers = [header(plane([0, 0, 1], tilted)), header(plane([0, 0, 0]))];
  expect(orderSeries(headers)).toMatchObject({ slices: [{ index: 1 }, { index: 0 }] });
});

test.each([
  ['an empty series', [], 'the series is empty'],
  ['other sizes', [header(), header({ '00280010': ds(65) })], 'rows or columns differ'],
  [
    'orientations',
    [header(plane([0, 0, 0])), header(plane([0, 0, 1], [0, 1, 0, 0, 0, -1]))],
    'orientation differs',
  ],
  [
    'frames of reference',
    [header(plane([0, 0, 0])), header({ ...plane([0, 0, 1]), '00200052': text('1.2.4') })],
    'frame of reference differs',
  ],
  ['colour', [header({ '00280004': text('RGB'), '00280002': ds(3) })], 'not grey'],
  ['a palette', [header({ '00280004': text('PALETTE COLOR') })], 'not grey'],
  ['a localizer', [header({ '00080008': text('ORIGINAL', 'PRIMARY', 'LOCALIZER') })], 'localizer'],
  ['no pixels', [header({}, 0)], 'no pixel data'],
  ['a segmentation', [header({ '00080060': text('SEG') })], 'modality SEG'],
  ['a structured report', [header({ '00080060': text('SR') }, 0)], 'modality SR'],
])('%s: the reason is told', (_name, headers, reason) => {
  expect(orderSeries(headers)).toEqual({ reason: expect.stringContaining(reason) as string });
});
