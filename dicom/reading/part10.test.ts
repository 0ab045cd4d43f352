import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  element,
  implicitElement,
  item,
  itemEnd,
  sequenceEnd,
  undefinedLength,
} from '../../fixtures/data-element.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import type { DicomJson } from '../dicom-json.ts';
import { pydicom, python } from '../pydicom-reference.ts';
import { MemorySource } from './byte-source.ts';
import { DicomError } from './dicom-error.ts';
import { readBulkData, readInstance, type InstanceHeader } from './part10.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-part10-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const prefix = Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')]);
const meta = element('00020010', 'UI', '1.2.840.10008.1.2.1\0');
const implicitMeta = element('00020010', 'UI', '1.2.840.10008.1.2\0');
const names = [
  element('00080016', 'UI', '1.2.840.10008.5.1.4.1.1.7\0'),
  element('00080018', 'UI', '1.2.3\0'),
];
const rest = [
  element('00100010', 'PN', 'Doe^John'),
  element('0020000D', 'UI', '1.2\0'),
  element('0020000E', 'UI', '1.2.4\0'),
  element('00280100', 'US', Uint8Array.of(8, 0)),
];
const pixels = element('7FE00010', 'OB', Uint8Array.of(1, 2, 3, 4));
const fragments = element(
  '7FE00010',
  'OB',
  Buffer.concat([...['', 'abcd', 'efgh'].map((bytes) => item(Buffer.from(bytes))), sequenceEnd]),
  undefinedLength,
);
const dataSet = Buffer.concat([...names, ...rest, pixels]);
const implicit = Buffer.concat([
  implicitElement('00080016', '1.2.840.10008.5.1.4.1.1.7\0'),
  implicitElement('00080018', '1.2.3\0'),
  implicitElement('00100010', 'Doe^John'),
  implicitElement('0020000D', '1.2\0'),
  implicitElement('0020000E', '1.2.4\0'),
  implicitElement('00280100', Uint8Array.of(8, 0)),
  implicitElement('7FE00010', Uint8Array.of(1, 2, 3, 4)),
]);
const code = element('00080100', 'SH', 'ABC ');
const implicitCode = implicitElement('00080100', 'ABC ');
/** A Part 10 file with these elements in the middle. */
const withElements = (...elements: Uint8Array[]): Buffer =>
  Buffer.concat([prefix, meta, ...names, ...elements, ...rest, pixels]);

const header = (file: Uint8Array): InstanceHeader => readInstance(new MemorySource(file)).header;

function refusal(file: Uint8Array): object {
  try {
    header(file);
  } catch (error) {
    if (error instanceof DicomError) return { reason: error.reason, tag: error.tag, offset: error.offset };
    throw error;
  }
  throw new Error('accepted');
}

/** Files that contradict PS3.10 or PS3.5 and can mean one thing only, and who else reads them so. */
const careless: [string, Uint8Array, 'pydicom' | 'dcm2json'][] = [
  ['no preamble', Buffer.concat([meta, dataSet]), 'pydicom'],
  ['no file meta information, explicit', dataSet, 'pydicom'],
  ['no file meta information, implicit', implicit, 'pydicom'],
  ['no transfer syntax', Buffer.concat([prefix, element('00020002', 'UI', '1.2\0'), dataSet]), 'pydicom'],
  [
    'file meta information in implicit VR',
    Buffer.concat([prefix, implicitElement('00020010', '1.2.840.10008.1.2.1\0'), dataSet]),
    'pydicom',
  ],
  ['explicit VR declared as implicit', Buffer.concat([prefix, implicitMeta, dataSet]), 'pydicom'],
  ['implicit VR declared as explicit', Buffer.concat([prefix, meta, implicit]), 'pydicom'],
  ['one attribute in implicit VR', withElements(implicitElement('00080060', 'OT')), 'pydicom'],
  ['items in implicit VR', withElements(element('00081140', 'SQ', item(implicitCode))), 'pydicom'],
  ['items in explicit VR within UN', withElements(element('00081140', 'UN', item(code))), 'pydicom'],
  [
    'items in explicit VR within UN of undefined length',
    withElements(element('00081140', 'UN', Buffer.concat([item(code), sequenceEnd]), undefinedLength)),
    'pydicom',
  ],
  [
    'a delimiter in an item of known length',
    withElements(element('00081140', 'SQ', item(Buffer.concat([code, itemEnd])))),
    'dcm2json',
  ],
  [
    'a delimiter in a sequence of known length',
    withElements(element('00081140', 'SQ', Buffer.concat([item(code), sequenceEnd]))),
    'dcm2json',
  ],
  ['an attribute twice with the same value', withElements(names[1]), 'pydicom'],
  ['question marks for a VR', withElements(element('00080060', '??', 'OT')), 'dcm2json'],
  ['blanks for a VR', withElements(element('00080060', '  ', 'OT')), 'dcm2json'],
  ['a VR in lower case', withElements(element('00080060', 'cs', 'OT')), 'dcm2json'],
  ['a value of odd length', withElements(element('00080060', 'CS', 'OTX')), 'pydicom'],
  ['attributes out of order', Buffer.concat([prefix, meta, ...rest, ...names, pixels]), 'pydicom'],
  [
    'Latin-1 that is not declared',
    withElements(element('00081030', 'LO', Buffer.from('Schädel', 'latin1'))),
    'pydicom',
  ],
  ['zeros at the end', Buffer.concat([prefix, meta, ...names, ...rest, Buffer.alloc(512)]), 'pydicom'],
];

/** Values by tag. A VR that was not written is UN to DCMTK; (0000,0000) is the zeros at the end. */
function values(json: DicomJson): unknown {
  const kept = Object.entries(json).filter(([tag]) => tag !== '7FE00010' && tag !== '00000000');
  return Object.fromEntries(
    kept.map(([tag, { vr, Value, InlineBinary }]) => [
      tag,
      InlineBinary !== undefined && vr === 'UN'
        ? [Buffer.from(InlineBinary, 'base64').toString('latin1')]
        : vr === 'SQ'
          ? (Value as DicomJson[]).map(values)
          : Value,
    ]),
  );
}

/** pydicom's JSON of each file. */
const pydicomJson = 'output = [json.loads(pydicom.dcmread(path, force=True).to_json()) for path in input]';

describeWith([python, 'dcm2json'], 'files that contradict the standard', () => {
  let theirs: DicomJson[];
  beforeAll(() => {
    const paths = careless.map((_, i) => join(folder, `${i}.dcm`));
    for (const [i, [, file]] of careless.entries()) writeFileSync(paths[i], file);
    const byPydicom = paths.filter((_, i) => careless[i][2] === 'pydicom');
    const answers = pydicom(pydicomJson, byPydicom) as DicomJson[];
    theirs = paths.map((path, i) =>
      careless[i][2] === 'pydicom'
        ? answers[byPydicom.indexOf(path)]
        : (JSON.parse(spawnSync('dcm2json', ['-q', path], { encoding: 'utf8' }).stdout) as DicomJson),
    );
  }, 300_000);

  test.each(careless.map(([name, file], i) => [name, file, i] as const))('%s', (_name, file, i) => {
    expect(values(header(file).dataset)).toEqual(values(theirs[i]));
  });
});

test('compressed pixels of an icon are kept with their items', () => {
  const encapsulated = Buffer.concat([item(Buffer.alloc(0)), item(Buffer.from('abcd'))]);
  const icon = element('7FE00010', 'OB', Buffer.concat([encapsulated, sequenceEnd]), undefinedLength);
  const { dataset } = header(withElements(element('00880200', 'SQ', item(icon))));
  expect(dataset['00880200'].Value).toEqual([
    { '7FE00010': { vr: 'OB', InlineBinary: encapsulated.toString('base64') } },
  ]);
  const large = Buffer.concat([item(Buffer.alloc(0)), item(Buffer.alloc(70_000, 1))]);
  const instance = readInstance(
    new MemorySource(
      withElements(
        element(
          '00880200',
          'SQ',
          item(element('7FE00010', 'OB', Buffer.concat([large, sequenceEnd]), undefinedLength)),
        ),
      ),
    ),
  );
  expect(Buffer.from(readBulkData(instance, '00880200/0/7FE00010')).equals(large)).toBe(true);
});

test('a number whose length does not fit its VR is kept as UN', () => {
  const { dataset } = header(withElements(element('00280106', 'US', 'abc')));
  expect(dataset['00280106']).toEqual({ vr: 'UN', InlineBinary: Buffer.from('abc').toString('base64') });
});

test.each([
  ['text', Buffer.from('Not DICOM at all, but long enough'), { reason: 'not-dicom', offset: 0 }],
  ['an empty file', Buffer.alloc(0), { reason: 'not-dicom', offset: 0 }],
  ['zeros', Buffer.alloc(1024), { reason: 'not-dicom', offset: 0 }],
  ['a prefix alone', prefix, { reason: 'not-dicom', tag: '00020010' }],
  [
    'compressed pixels without a transfer syntax',
    Buffer.concat([
      ...names,
      ...rest,
      element(
        '7FE00010',
        'OB',
        Buffer.concat([item(Buffer.alloc(0)), item(Buffer.from('abcd')), sequenceEnd]),
        undefinedLength,
      ),
    ]),
    { reason: 'unsupported', tag: '7FE00010' },
  ],
  [
    'a UID twice with different values',
    withElements(element('00080018', 'UI', '1.9\0')),
    { reason: 'malformed', tag: '00080018' },
  ],
  [
    'a delimiter behind a sequence of known length',
    withElements(element('00081140', 'SQ', item(code)), sequenceEnd),
    { reason: 'malformed', tag: 'FFFEE0DD' },
  ],
  [
    'a sequence longer than its items',
    withElements(element('00081140', 'SQ', item(code), 60)),
    { reason: 'malformed', tag: '00081140' },
  ],
  [
    'a VR that is none, with a length that leads nowhere',
    withElements(element('00080060', '??', 'OT', 3)),
    { reason: 'malformed', tag: '00080060' },
  ],
])('%s is refused, and what is wrong is named', (_name, file, expected) => {
  expect(refusal(file)).toMatchObject(expected);
});

test.each([
  ['of one bit', 1, pixels, '1.2.840.10008.1.2.1', 32],
  ['of one byte', 8, pixels, '1.2.840.10008.1.2.1', 4],
  ['without a size', 0, pixels, '1.2.840.10008.1.2.1', 32],
  ['of a large object', 1, element('7FE00010', 'OB', Buffer.alloc(2 ** 18)), '1.2.840.10008.1.2.1', 2 ** 20],
  ['compressed one by one', 8, fragments, '1.2.840.10008.1.2.5', 2],
  ['of a video', 8, fragments, '1.2.840.10008.1.2.4.102', fragments.length - 12],
])('no more frames %s are believed than the pixel data can hold', (_what, bits, pixelData, syntax, most) => {
  const file = (frames: number) =>
    Buffer.concat([
      prefix,
      element('00020010', 'UI', syntax.padEnd(syntax.length + (syntax.length % 2), '\0')),
      ...names,
      ...rest.slice(0, -1),
      element('00280008', 'IS', String(frames).padEnd(12)),
      element('00280100', 'US', Uint8Array.of(bits, 0)),
      pixelData,
    ]);
  expect(header(file(most)).numberOfFrames).toBe(most);
  for (const frames of [most + 1, 2 ** 31 - 2])
    expect(refusal(file(frames))).toMatchObject({ reason: 'malformed', tag: '00280008' });
});
