import { describeWith } from '../../fixtures/required-program.ts';
import { dataSet } from './keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import { judge, PYTHON, readByPydicom } from './scored-study.fixture.ts';
import { writePart10 } from './write-part10.ts';

const UIDS = { SOPClassUID: '1.2.840.10008.5.1.4.1.1.7', SOPInstanceUID: '2.25.1' };

describeWith([PYTHON, 'dcmdump'], 'Part 10 files, as others read them', () => {
  test('pydicom reads back what was written', () => {
    const dataset: DicomJson = {
      ...dataSet({
        ...UIDS,
        PatientID: 'Ж-1',
        PatientBirthDate: [],
        PixelSpacing: [1 / 7, 1e-7],
        Rows: 3,
        ReferencedSeriesSequence: [],
        SourceImageSequence: [
          {
            ReferencedSOPInstanceUID: '1.2.3',
            PurposeOfReferenceCodeSequence: [{ CodeMeaning: '“quoted”' }],
          },
        ],
        GraphicData: [0.5, 1.25],
        FloatingPointValue: 1 / 3,
      }),
      '00100010': {
        vr: 'PN',
        Value: [
          { Alphabetic: 'Hong^Gildong', Ideographic: '洪^吉洞', Phonetic: '홍^길동' },
          { Alphabetic: '', Ideographic: '山田' },
        ],
      },
      '00420011': { vr: 'OB', InlineBinary: Buffer.from([1, 2, 3, 255]).toString('base64') },
    };
    const pixels = new Uint8Array(16).map((_, index) => index).subarray(3, 10);
    const read = readByPydicom(writePart10(dataset, { '7FE00010': { vr: 'OB', bytes: pixels } }));
    expect(read['00080005'].Value).toEqual(['ISO_IR 192']);
    for (const [tag, attribute] of Object.entries(dataset)) {
      const { vr, Value = [], InlineBinary } = read[tag];
      expect({ tag, vr, Value, InlineBinary }).toEqual({
        tag,
        vr: attribute.vr,
        Value: attribute.vr === 'DS' ? attribute.Value!.map(Number) : (attribute.Value ?? []),
        InlineBinary: attribute.InlineBinary,
      });
    }
    // An odd number of bytes is padded with zero.
    expect([...Buffer.from(read['7FE00010'].InlineBinary!, 'base64')]).toEqual([3, 4, 5, 6, 7, 8, 9, 0]);
  });

  test('the file meta information is whole, the transfer syntax explicit little endian', () => {
    const { status, output } = judge(writePart10(dataSet(UIDS)), 'dcmdump', '--quiet');
    expect(status).toBe(0);
    for (const line of [
      '=SecondaryCaptureImageStorage',
      '[2.25.1]',
      '=LittleEndianExplicit',
      'FileMetaInformationVersion',
      'ImplementationClassUID',
    ]) {
      expect(output).toContain(line);
    }
  });
});

test('the same data set gives the same bytes, whatever the order of its attributes', () => {
  const [a, b] = [
    { ...UIDS, Rows: 1, Modality: 'OT' },
    { Modality: 'OT', Rows: 1, ...UIDS },
  ].map((attributes) => Buffer.from(writePart10(dataSet(attributes))));
  expect(a.equals(b)).toBe(true);
});

test('a data set without its UIDs, or with values elsewhere, is refused', () => {
  expect(() => writePart10({})).toThrow('SOPClassUID is missing');
  expect(() => writePart10({ ...dataSet(UIDS), '00080018': { vr: 'UI', Value: ['1.02'] } })).toThrow(
    'SOPInstanceUID',
  );
  expect(() => writePart10({ ...dataSet(UIDS), '00420011': { vr: 'OB', BulkDataURI: 'x' } })).toThrow(
    '00420011',
  );
});

test('attributes must have a keyword and the form of their VR; errors never hold the value', () => {
  expect(() => dataSet({ PatientNam: 'x' })).toThrow('PatientNam is no keyword');
  const malformed = {
    PatientBirthDate: '1970-01-01',
    StudyTime: '25',
    StudyInstanceUID: '1.02',
    PatientSex: 'female',
    PatientAge: '7',
    PatientID: 'a\\b',
    StudyID: '12345678901234567',
    SeriesNumber: '1.5',
    PixelSpacing: 'wide',
  };
  for (const [keyword, value] of Object.entries(malformed)) {
    const write = () => dataSet({ [keyword]: value });
    expect(write).toThrow(keyword);
    expect(write).not.toThrow(value);
  }
  expect(() => dataSet({ FloatingPointValue: NaN })).toThrow('FloatingPointValue: FD takes finite numbers');
});
