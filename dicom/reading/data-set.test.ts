import type { DicomJson, DicomJsonAttribute } from '../dicom-json.ts';
import { element, item, itemEnd, sequenceEnd, undefinedLength } from '../../fixtures/data-element.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { everyVR } from '../every-vr.fixture.ts';
import { pydicom, python } from '../pydicom-reference.ts';
import { MemorySource } from './byte-source.ts';
import { readDataSet, type ReadDataSet } from './data-set.ts';
import { DicomError } from './dicom-error.ts';

const explicitLE = { explicit: true, bigEndian: false };

const read = (...elements: Uint8Array[]): ReadDataSet =>
  readDataSet(new MemorySource(Buffer.concat(elements)), 0, explicitLE);

function refusal(...elements: Uint8Array[]): unknown {
  try {
    read(...elements);
  } catch (error) {
    if (error instanceof DicomError) return { reason: error.reason, tag: error.tag, offset: error.offset };
    throw error;
  }
  return 'accepted';
}

/** The data sets of character sets and names, in base64. */
const encodedNames = `
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
output = []
for charset, name in input:
    d = Dataset()
    d.SpecificCharacterSet = charset
    d.PatientName = name
    f = DicomBytesIO()
    f.is_implicit_VR = False
    f.is_little_endian = True
    write_dataset(f, d)
    output.append(base64.b64encode(f.getvalue()).decode())
`;

/** Writes `d` and returns bytes and pydicom's own JSON of what it reads back. */
const written = `
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
f = DicomBytesIO()
f.is_implicit_VR = not input['explicit']
f.is_little_endian = not input['bigEndian']
d.is_implicit_VR = f.is_implicit_VR
d.is_little_endian = f.is_little_endian
if input.get('undefinedLength'):
    for e in d.iterall():
        if e.VR == 'SQ':
            e.is_undefined_length = True
            for i in e.value: i.is_undefined_length_sequence_item = True
write_dataset(f, d)
raw = f.getvalue()
back = pydicom.filereader.read_dataset(pydicom.filebase.DicomBytesIO(raw), f.is_implicit_VR, f.is_little_endian)
output = {'bytes': base64.b64encode(raw).decode(), 'json': back.to_json_dict()}
`;

describeWith([python], 'pydicom', () => {
  test.each([
    ['explicit little endian', explicitLE],
    ['implicit little endian', { explicit: false, bigEndian: false }],
    ['explicit big endian', { explicit: true, bigEndian: true }],
    ['undefined lengths', { ...explicitLE, undefinedLength: true }],
    ['implicit, undefined lengths', { explicit: false, bigEndian: false, undefinedLength: true }],
  ])('%s: every VR becomes the JSON that pydicom makes', (_name, encoding) => {
    const { bytes, json } = pydicom(everyVR + written, encoding) as { bytes: string; json: DicomJson };
    const { attributes, bulkData } = readDataSet(new MemorySource(Buffer.from(bytes, 'base64')), 0, encoding);
    expect(bulkData).toEqual([]);
    expect(new Set(Object.keys(attributes))).toEqual(new Set(Object.keys(json)));
    for (const [tag, attribute] of Object.entries(attributes)) {
      // Without a dictionary of private attributes, implicit ones are UN in both.
      expect([tag, attribute]).toEqual([tag, pydicomAttribute(json[tag], encoding.bigEndian)]);
    }
  });

  test('the character sets of PS3.3 C.12.1.1.2 read as pydicom reads them', () => {
    const sets: [string[], string][] = [
      [['ISO_IR 100'], 'Buc^Jérôme'],
      [['ISO_IR 101'], 'Wałęsa'],
      [['ISO_IR 109'], 'ĦħĜĝ'],
      [['ISO_IR 110'], 'ĀāĒē'],
      [['ISO_IR 144'], 'Люкceмбypг'],
      [['ISO_IR 127'], 'قباني^لنزار'],
      [['ISO_IR 126'], 'Διονυσιος'],
      [['ISO_IR 138'], 'שרון^דבורה'],
      [['ISO_IR 148'], 'Çavuşoğlu'],
      [['ISO_IR 13', 'ISO 2022 IR 87'], 'ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう'],
      [['', 'ISO 2022 IR 87'], 'Yamada^Tarou=山田^太郎=やまだ^たろう'],
      [['', 'ISO 2022 IR 149'], 'Hong^Gildong=洪^吉洞=홍^길동'],
      [['ISO 2022 IR 6', 'ISO 2022 IR 100', 'ISO 2022 IR 144'], 'Dionisiü^Люк'],
      [['ISO_IR 192'], 'Wang^XiaoDong=王^小东='],
      [['GB18030'], 'Wang^XiaoDong=王^小东='],
      [['GBK'], 'Wang^XiaoDong=王^小东='],
    ];
    const files = pydicom(encodedNames, sets) as string[];
    for (const [index, [characterSet, name]] of sets.entries()) {
      const { attributes } = read(Buffer.from(files[index], 'base64'));
      const [Alphabetic, Ideographic, Phonetic] = name.split('=');
      const expected = { Alphabetic, ...(Ideographic && { Ideographic }), ...(Phonetic && { Phonetic }) };
      expect([characterSet, attributes['00100010'].Value]).toEqual([characterSet, [expected]]);
    }
  });
});

/** pydicom's JSON in the spelling of PS3.18: null for empty values, no Value for none, little-endian words. */
function pydicomAttribute({ vr, Value, InlineBinary }: DicomJsonAttribute, bigEndian: boolean): unknown {
  if (InlineBinary !== undefined) {
    const size = { OW: 2, OF: 4, OL: 4, OD: 8 }[vr];
    const bytes = Buffer.from(InlineBinary, 'base64');
    if (bigEndian && size === 2) bytes.swap16();
    if (bigEndian && size === 4) bytes.swap32();
    if (bigEndian && size === 8) bytes.swap64();
    return { vr, InlineBinary: bytes.toString('base64') };
  }
  if (Value === undefined || Value.length === 0) return { vr };
  if (vr === 'PN') {
    const groups = (name: object) =>
      Object.fromEntries(Object.entries(name).filter(([, text]) => text !== ''));
    return { vr, Value: Value.map((name) => groups(name as object)) };
  }
  if (vr !== 'SQ') return { vr, Value: Value.map((value) => (value === '' ? null : value)) };
  const items = Value as DicomJson[];
  const entries = (content: DicomJson) =>
    Object.entries(content).map(([inner, attribute]) => [inner, pydicomAttribute(attribute, bigEndian)]);
  return { vr, Value: items.map((content) => Object.fromEntries(entries(content)) as DicomJson) };
}

describe('values', () => {
  test('the example of PS3.5 K.2, which pydicom writes without its escape sequences', () => {
    const name = Buffer.concat([
      Buffer.from('Zhang^XiaoDong='),
      Buffer.from('1b242941d5c55e1b242941d0a1b6ab3d20', 'hex'),
    ]);
    const { attributes } = read(
      element('00080005', 'CS', '\\ISO 2022 IR 58 '),
      element('00100010', 'PN', name),
    );
    expect(attributes['00100010'].Value).toEqual([{ Alphabetic: 'Zhang^XiaoDong', Ideographic: '张^小东' }]);
  });

  test('64-bit integers and their 32-bit length (OV, SV, UV), which Extended Offset Tables need', () => {
    const value = Buffer.alloc(16);
    value.writeBigUInt64LE(5n, 0);
    value.writeBigUInt64LE(2n ** 63n, 8);
    const { attributes } = read(
      element('00720083', 'UV', value),
      element('7FE00001', 'OV', value),
      element('7FE10010', 'LO', 'X '),
    );
    expect(attributes).toEqual({
      '00720083': { vr: 'UV', Value: [5, '9223372036854775808'] },
      '7FE00001': { vr: 'OV', InlineBinary: value.toString('base64') },
      '7FE10010': { vr: 'LO', Value: ['X'] },
    });
  });

  test('numbers that JSON cannot hold, and a DS that is none, are text', () => {
    const value = Buffer.alloc(12);
    [Number.NaN, Infinity, -Infinity].forEach((number, i) => value.writeFloatLE(number, 4 * i));
    const { attributes } = read(element('00189306', 'FL', value), element('00280030', 'DS', '1.5\\n/a '));
    expect(attributes['00189306'].Value).toEqual(['NaN', 'inf', '-inf']);
    expect(attributes['00280030'].Value).toEqual([1.5, 'n/a']);
  });

  test('a large value stays in the source, its place is told', () => {
    const large = new Uint8Array(70_000);
    const { attributes, bulkData } = read(
      element('00091001', 'OB', large),
      element('00091002', 'SQ', item(element('00420011', 'OB', large))),
    );
    expect(attributes['00091001']).toEqual({ vr: 'OB' });
    expect(bulkData).toEqual([
      { path: '00091001', vr: 'OB', offset: 12, length: 70_000 },
      { path: '00091002/0/00420011', vr: 'OB', offset: 70_012 + 12 + 8 + 12, length: 70_000 },
    ]);
  });

  test('UN holds implicit little endian, whatever surrounds it (PS3.5 6.2.2)', () => {
    const implicit = Buffer.from('08000001040000004142430008000401020000005a20', 'hex');
    const nested = Buffer.concat([item(Buffer.concat([implicit, itemEnd]), undefinedLength), sequenceEnd]);
    const { attributes } = read(
      element('00081140', 'UN', nested, undefinedLength),
      element('00280010', 'UN', Buffer.from([2, 0])),
    );
    expect(attributes).toEqual({
      '00081140': {
        vr: 'SQ',
        Value: [{ '00080100': { vr: 'SH', Value: ['ABC'] }, '00080104': { vr: 'LO', Value: ['Z'] } }],
      },
      '00280010': { vr: 'US', Value: [2] },
    });
  });

  test('character sets in the spellings of the field; of an unknown one only ASCII is read', () => {
    const name = element('00100010', 'PN', Buffer.from('4dfc6c6c', 'hex'));
    for (const spelling of ['ISO_IR_100', 'ISO-IR 100', 'iso_ir 100'])
      expect(read(element('00080005', 'CS', spelling), name).attributes['00100010'].Value).toEqual([
        { Alphabetic: 'Müll' },
      ]);
    const unknown = element('00080005', 'CS', 'KLINGON ');
    expect(read(unknown, element('00100010', 'PN', 'Kor^')).attributes['00100010'].Value).toEqual([
      { Alphabetic: 'Kor^' },
    ]);
    expect(refusal(unknown, name)).toEqual({ reason: 'malformed', tag: '00100010', offset: unknown.length });
  });
});

describe('damaged data sets are refused with tag and offset', () => {
  const first = element('00080016', 'UI', '1.2\0');
  const at = first.length;
  test.each([
    ['a value beyond the end', [first, element('00080018', 'UI', 'ab', 40)], 'truncated', '00080018', at],
    ['a cut length', [first, Buffer.from('080018005549', 'hex')], 'truncated', '00080018', at],
    ['a cut tag', [first, Buffer.from('0800', 'hex')], 'truncated', undefined, at],
    ['a VR of no letters', [first, element('00080018', '\0\x07', 'ab', 3)], 'malformed', '00080018', at + 4],
    ['an attribute twice', [first, element('00080016', 'UI', '1.3\0')], 'malformed', '00080016', at],
    ['a stray delimiter', [first, sequenceEnd], 'malformed', 'FFFEE0DD', at],
    [
      'an item longer than its sequence',
      [first, element('00081140', 'SQ', item(new Uint8Array(4), 40)), first],
      'truncated',
      '00081140',
      at + 12,
    ],
    [
      'a sequence without end',
      [first, element('00081140', 'SQ', item(itemEnd, undefinedLength), undefinedLength)],
      'truncated',
      '00081140',
      at + 12 + 16,
    ],
    ['no item in a sequence', [element('00081140', 'SQ', first)], 'malformed', '00081140', 12],
    [
      'an OB of undefined length',
      [first, element('00420011', 'OB', '12345678', undefinedLength)],
      'malformed',
      '00420011',
      at + 12,
    ],
    ['Pixel Data beyond the end', [first, element('7FE00010', 'OW', 'ab', 8)], 'truncated', '7FE00010', at],
    [
      'a fragment beyond the end',
      [
        element(
          '7FE00010',
          'OB',
          Buffer.concat([item(Buffer.alloc(0)), item(Buffer.alloc(2), 9)]),
          undefinedLength,
        ),
      ],
      'truncated',
      '7FE00010',
      12 + 8,
    ],
    [
      'fragments without a delimiter',
      [
        element(
          '7FE00010',
          'OB',
          Buffer.concat([item(Buffer.alloc(0)), item(Buffer.alloc(2))]),
          undefinedLength,
        ),
      ],
      'truncated',
      '7FE00010',
      12 + 8 + 10,
    ],
  ])('%s', (_name, elements, reason, tag, offset) => {
    expect(refusal(...elements)).toEqual({ reason, tag, offset });
  });

  test('sequences nested beyond any IOD', () => {
    let content: Buffer = Buffer.alloc(0);
    for (let depth = 0; depth < 100; depth++) content = element('00081140', 'SQ', item(content));
    expect(refusal(content)).toMatchObject({ reason: 'malformed', tag: '00081140' });
  });
});
