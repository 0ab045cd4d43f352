import { describeWith } from '../../fixtures/required-program.ts';
import { itemsOf, stringOf, stringsOf } from '../keyword.ts';
import { judge, PYTHON, readByPydicom, scoredProjection, SOURCES } from '../scored-study.fixture.ts';
import { heatmapOverlay } from './heatmap-overlay.ts';
import { secondaryCaptures } from './secondary-capture.ts';

describeWith([PYTHON, 'dciodvfy', 'dcm2pnm'], 'secondary captures, as others read them', () => {
  for (const [name, scored] of Object.entries(SOURCES)) {
    describe(name, () => {
      const result = scored();
      const [object] = secondaryCaptures(result);
      const { slice, header } = result.slices.find(({ score }) => score.flagged)!;

      test('dciodvfy finds no error', () => {
        const { output } = judge(object.bytes, 'dciodvfy');
        expect(output).toContain('SCImage');
        expect(output).not.toMatch(/^Error/m);
      });

      test('DCMTK renders it', () => {
        expect(judge(object.bytes, 'dcm2pnm', '--write-png', '--all-frames').status).toBe(0);
      });

      test('pydicom reads the picture, the patient and the source', () => {
        const read = readByPydicom(object.bytes);
        const picture = heatmapOverlay(
          result.slices.find(({ score }) => score.flagged)!,
          result.bundleTitle,
        );
        const pixels = Buffer.from(read['7FE00010'].InlineBinary!, 'base64');
        expect(pixels.subarray(0, picture.pixels.length).equals(picture.pixels)).toBe(true);
        expect([stringOf(read, 'Rows'), stringOf(read, 'Columns')].map(Number)).toEqual([
          slice.rows,
          slice.columns,
        ]);
        expect(stringOf(read, 'PhotometricInterpretation')).toBe('RGB');
        expect(read['00100010']).toEqual(header['00100010']);
        expect(stringOf(read, 'StudyDescription')).toBe('Ünïcode Żółć');
        expect(stringOf(read, 'StudyInstanceUID')).toBe(stringOf(header, 'StudyInstanceUID'));
        expect(stringOf(read, 'SeriesInstanceUID')).not.toBe(stringOf(header, 'SeriesInstanceUID'));
        expect(stringOf(read, 'SeriesDescription')).toBe(
          'brain-mri@0123456789ab (UNTRAINED) - Not for diagnostic use',
        );
        expect(stringOf(read, 'ContentDate')).toBe('20240301');
        const [source] = itemsOf(read, 'SourceImageSequence');
        expect(stringOf(source, 'ReferencedSOPInstanceUID')).toBe(slice.sopInstanceUID);
        expect(stringOf(source, 'ReferencedFrameNumber')).toBe(
          name.startsWith('multi-frame') ? String(slice.frame) : undefined,
        );
      });

      test('its place in the patient is that of the slice, where the slice has one', () => {
        const read = readByPydicom(object.bytes);
        expect(stringsOf(read, 'ImageOrientationPatient').map(Number)).toEqual(
          slice.geometry?.imageOrientationPatient.map((cosine) => expect.closeTo(cosine, 9) as number) ?? [],
        );
        expect(stringOf(read, 'FrameOfReferenceUID')).toBe(slice.geometry?.frameOfReferenceUID);
        const orientation = slice.geometry ? ['L', 'PF'] : stringsOf(header, 'PatientOrientation');
        expect(stringsOf(read, 'PatientOrientation')).toEqual(orientation);
      });
    });
  }
});

const bytesOf = (...parameters: Parameters<typeof secondaryCaptures>) =>
  [...secondaryCaptures(...parameters)].map(({ bytes }) => Buffer.from(bytes).toString('base64'));
const uidsOf = (...parameters: Parameters<typeof secondaryCaptures>) =>
  [...secondaryCaptures(...parameters)].map(({ sopInstanceUID }) => sopInstanceUID);

test('the same input gives the same bytes', () => {
  expect(bytesOf(SOURCES['CT volume'](), 'all')).toEqual(bytesOf(SOURCES['CT volume'](), 'all'));
});

test('another bundle, other settings or another writer give other UIDs', () => {
  const result = SOURCES['CT volume']();
  const variants = [
    result,
    { ...result, algorithm: { ...result.algorithm, algorithmVersion: 'brain-mri@ba9876543210' } },
    { ...result, algorithm: { ...result.algorithm, softwareVersion: '0.2.0' } },
    { ...result, outputSettings: 'sc=all' },
    { ...result, slices: result.slices.slice(1) },
  ];
  const uids = variants.flatMap((variant) => uidsOf(variant));
  expect(new Set(uids).size).toBe(variants.length);
});

test('the flagged slices are drawn, the highest one if none is, or all', () => {
  const result = SOURCES['CT volume']();
  expect(uidsOf(result)).toHaveLength(1);
  expect(uidsOf(result, 'all')).toHaveLength(3);
  expect(uidsOf(result)).toEqual([uidsOf(result, 'all')[1]]);
  const none = {
    ...result,
    slices: result.slices.map((slice) => ({ ...slice, score: { ...slice.score, flagged: false } })),
  };
  expect(uidsOf(none)).toEqual(uidsOf(result));
});

test('what cannot be drawn is refused by name', () => {
  const result = scoredProjection();
  const [scored] = result.slices;
  const first = (slice: object) => ({ ...result, slices: [{ ...scored, ...slice }] });
  const uid = scored.slice.sopInstanceUID;
  expect(() => uidsOf({ ...result, slices: [] })).toThrow('at least one scored slice');
  expect(() => uidsOf(first({ mapRows: 3 }))).toThrow(
    `slice ${uid} frame 1: map is not mapRows × mapColumns`,
  );
  expect(() => uidsOf(first({ map: scored.map.map(() => NaN) }))).toThrow('not finite');
  expect(() => uidsOf(first({ mapThreshold: 0 }))).toThrow('mapThreshold');
  expect(() => uidsOf(first({ gridToSlice: [1, 1, 0, 1, 1, 0] }))).toThrow('cannot be inverted');
  expect(() => uidsOf(first({ score: { ...scored.score, threshold: Infinity } }))).toThrow(
    'threshold is not finite',
  );
  const header = { ...scored.header, '0020000D': { vr: 'UI', Value: ['1.02'] } };
  expect(() => uidsOf(first({ header }))).toThrow('StudyInstanceUID');
  const tiny = { ...scored.slice, rows: 20, columns: 20, pixels: new Uint8Array(400) };
  expect(() => uidsOf(first({ slice: tiny }))).toThrow('cannot carry the notice');
});

test('malformed values of the source are left out, and never named', () => {
  const result = scoredProjection();
  const [scored] = result.slices;
  const header = { ...scored.header, '00100030': { vr: 'DA', Value: ['1950-Jan-01'] } };
  const [{ bytes }] = secondaryCaptures({ ...result, slices: [{ ...scored, header }] });
  expect(Buffer.from(bytes).includes('1950-Jan')).toBe(false);
  // Type 2: present and empty.
  expect(Buffer.from(bytes).includes(Buffer.from([0x10, 0x00, 0x30, 0x00, 0x44, 0x41, 0, 0]))).toBe(true);
});
