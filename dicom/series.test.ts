import type { DicomJson } from './dicom-json.ts';
import type { InstanceHeader } from './reading/part10.ts';
import { sortSeries } from './series.ts';

const ds = (...Value: number[]) => ({ vr: 'DS', Value });
const text = (...Value: string[]) => ({ vr: 'CS', Value });
const sq = (...Value: DicomJson[]) => ({ vr: 'SQ', Value });

let instances = 0;

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
  const sopInstanceUID = `1.2.${++instances}`;
  return { dataset, numberOfFrames, hasPixelData: numberOfFrames > 0, sopInstanceUID } as InstanceHeader;
}

/** The slices of the only stack. */
function slicesOf(headers: InstanceHeader[]) {
  const { stacks, leftOut } = sortSeries(headers);
  expect(leftOut).toEqual([]);
  expect(stacks).toHaveLength(1);
  return stacks[0].slices;
}

/** What makes each stack another one, and the headers of its slices. */
const summary = (headers: InstanceHeader[]) =>
  sortSeries(headers).stacks.map(({ slices, distinctions }) => [
    distinctions.join(', '),
    ...slices.map(({ index, frame }) => (headers[index].numberOfFrames > 1 ? frame : index)),
  ]);

const plane = (position: number[], orientation = [1, 0, 0, 0, 1, 0]): DicomJson => ({
  '00200032': ds(...position),
  '00200037': ds(...orientation),
  '00200052': text('1.2.3'),
  '00280030': ds(1, 1),
});

test('slices are ordered along the normal, whatever their numbers and the direction of their positions', () => {
  const headers = [30, 10, 20].map((z, i) => header({ ...plane([5, 5, z]), '00200013': ds(i) }));
  expect(slicesOf(headers)).toEqual([
    { index: 1, frame: 1, position: 10 },
    { index: 2, frame: 1, position: 20 },
    { index: 0, frame: 1, position: 30 },
  ]);
  // Sagittal: row along +y, column along −z, normal along −x.
  const sagittal = [-4, 6].map((x) => header(plane([x, 0, 0], [0, 1, 0, 0, 0, -1])));
  expect(slicesOf(sagittal)).toMatchObject([
    { index: 1, position: -6 },
    { index: 0, position: 4 },
  ]);
});

test('without geometry, Instance Number and frame decide', () => {
  const headers = [header({ '00200013': ds(2) }, 2), header({ '00200013': ds(1) })];
  expect(slicesOf(headers)).toEqual([
    { index: 1, frame: 1 },
    { index: 0, frame: 1 },
    { index: 0, frame: 2 },
  ]);
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
  expect(slicesOf([enhanced])).toEqual([
    { index: 0, frame: 2, position: 3 },
    { index: 0, frame: 3, position: 6 },
    { index: 0, frame: 1, position: 9 },
  ]);
});

test('a tilt within the tolerance is one orientation', () => {
  const tilted = [0.9999999, 0, 0.0004, 0, 1, 0];
  const headers = [header(plane([0, 0, 1], tilted)), header(plane([0, 0, 0]))];
  expect(slicesOf(headers)).toMatchObject([{ index: 1 }, { index: 0 }]);
});

/** Planes at z = 0, 1, … for each of `kinds`, numbered as a scanner might: position by position. */
const interleaved = (positions: number, kinds: DicomJson[]): InstanceHeader[] =>
  Array.from({ length: positions }, (_, z) =>
    kinds.map((kind, k) => header({ ...plane([0, 0, z]), '00200013': ds(z * kinds.length + k), ...kind })),
  ).flat();

test('echoes, b-values with their directions, and phases are stacks of their own, the lowest first', () => {
  expect(summary(interleaved(2, [{ '00180081': ds(90) }, { '00180081': ds(12) }]))).toEqual([
    ['Echo Time 12', 1, 3],
    ['Echo Time 90', 0, 2],
  ]);
  const diffusion = (b: number, ...direction: number[]) => ({
    '00189087': ds(b),
    '00189089': ds(...direction),
  });
  const directions = [diffusion(0), diffusion(1000, 1, 0, 0), diffusion(1000, 0, 1, 0)];
  expect(summary(interleaved(2, directions))).toEqual([
    ['Diffusion b-value 0', 0, 3],
    ['Diffusion b-value 1000, Diffusion Gradient Orientation 0\\1\\0', 2, 5],
    ['Diffusion b-value 1000, Diffusion Gradient Orientation 1\\0\\0', 1, 4],
  ]);
  // A trigger time of its own for every image tells nothing apart: their numbers do.
  const phases = interleaved(2, [{}, {}]).map((each, i) => ({
    ...each,
    dataset: { ...each.dataset, '00181060': ds(100 + i) },
  }));
  expect(summary(phases)).toEqual([
    ['image 1 of 2 at its position', 0, 2],
    ['image 2 of 2 at its position', 1, 3],
  ]);
});

test('an attribute that differs between positions only makes no stacks', () => {
  const halves = interleaved(4, [{ '00180081': ds(12) }, { '00180081': ds(90) }]).map((each, i) => ({
    ...each,
    dataset: { ...each.dataset, '00180086': ds(i < 4 ? 1 : 2) },
  }));
  expect(summary(halves)).toEqual([
    ['Echo Time 12', 0, 2, 4, 6],
    ['Echo Time 90', 1, 3, 5, 7],
  ]);
});

test('echoes and stacks of an enhanced object, and those of a legacy converted one', () => {
  const frames = [10, 80].flatMap((echo) => [0, 4].map((z) => [echo, z]));
  const shared = sq({
    '00209116': sq({ '00200037': ds(1, 0, 0, 0, 1, 0) }),
    '00289110': sq({ '00280030': ds(1, 1) }),
  });
  const converted = (group: string, tag: string) =>
    header(
      {
        '00200052': text('1.2.3'),
        '52009229': shared,
        '52009230': sq(
          ...frames.map(([echo, z]) => ({
            '00209113': sq({ '00200032': ds(0, 0, z) }),
            [group]: sq({ [tag]: ds(echo) }),
          })),
        ),
      },
      frames.length,
    );
  expect(summary([converted('00189114', '00189082')])).toEqual([
    ['Effective Echo Time 10', 1, 2],
    ['Effective Echo Time 80', 3, 4],
  ]);
  expect(summary([converted('00209171', '00180081')])).toEqual([
    ['Echo Time 10', 1, 2],
    ['Echo Time 80', 3, 4],
  ]);
});

test('a reconstructed NM volume is ordered by the slices that its frames are', () => {
  const volume = header(
    {
      '00200052': text('1.2.3'),
      '00280030': ds(4, 4),
      '00180088': ds(-4),
      '00540080': ds(1, 2, 3),
      '00540022': sq({ '00200032': ds(0, 0, 90), '00200037': ds(1, 0, 0, 0, 1, 0) }),
    },
    3,
  );
  expect(slicesOf([volume])).toEqual([
    { index: 0, frame: 3, position: 82 },
    { index: 0, frame: 2, position: 86 },
    { index: 0, frame: 1, position: 90 },
  ]);
});

test.each([
  ['sizes', { '00280010': ds(65) }],
  ['pixel spacings', { '00280030': ds(1, 1.01) }],
  ['orientations', plane([0, 0, 5], [0, 1, 0, 0, 0, -1])],
  ['frames of reference', { '00200052': text('1.2.4') }],
  ['image types', { '00080008': text('DERIVED', 'SECONDARY', 'MPR') }],
  ['nothing, one without a place', { '00200052': text() }],
])('images of two %s are two stacks, the larger first', (_name, changes) => {
  const headers = [header({ ...plane([0, 0, 5]), ...changes }), ...interleaved(2, [{}])];
  expect(summary(headers)).toEqual([
    ['', 1, 2],
    ['', 0],
  ]);
});

test('two views of a chest in one series are two stacks', () => {
  const headers = ['PA', 'LL'].map((view) => header({ '00185101': text(view) }));
  expect(sortSeries(headers).stacks.map(({ slices }) => slices)).toEqual([
    [{ index: 0, frame: 1 }],
    [{ index: 1, frame: 1 }],
  ]);
});

test('copies, and images that nothing tells from the one at their position, are left out', () => {
  const headers = interleaved(3, [{}]);
  headers.push(header({ ...plane([0, 0, 1]), '00200013': ds(9) }), headers[0]);
  expect(sortSeries(headers)).toMatchObject({
    stacks: [{ slices: [0, 1, 2].map((index) => ({ index })) }],
    leftOut: [
      { index: 4, reason: 'a second copy of an instance' },
      { index: 3, frame: 1, reason: 'another image lies at its position' },
    ],
  });
});

test('a gap is remarked', () => {
  const headers = [0, 3, 6, 12, 15].map((z) => header(plane([0, 0, z])));
  expect(sortSeries(headers).stacks[0].remarks).toEqual([
    'a gap of 6.0 mm after slice 3, others are 3.0 mm apart',
  ]);
});

test.each([
  ['colour', header({ '00280004': text('RGB'), '00280002': ds(3) }), 'not grey'],
  ['a palette', header({ '00280004': text('PALETTE COLOR') }), 'not grey'],
  ['a localizer', header({ '00080008': text('ORIGINAL', 'PRIMARY', 'LOCALIZER') }), 'a localizer'],
  ['no pixels', header({}, 0), 'no pixel data'],
  ['a segmentation', header({ '00080060': text('SEG') }), 'modality SEG holds no images'],
  ['a structured report', header({ '00080060': text('SR') }, 0), 'modality SR holds no images'],
])('%s: it is left out, with the reason; the other images are a stack', (_name, odd, reason) => {
  const { stacks, leftOut } = sortSeries([odd, header()]);
  expect(stacks.map(({ slices }) => slices)).toEqual([[{ index: 1, frame: 1 }]]);
  expect(leftOut).toMatchObject([{ index: 0, reason }]);
});
