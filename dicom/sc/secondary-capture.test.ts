import { describeWith } from '../../fixtures/required-program.ts';
import { itemsOf, stringOf, stringsOf } from '../writing/keyword.ts';
import {
  judge,
  PYTHON,
  readByPydicom,
  scoredProjection,
  secondaryCaptures,
  SOURCES,
  type ScoredStudy,
} from '../writing/scored-study.fixture.ts';
import { heatmapOverlay } from './heatmap-overlay.ts';
import { secondaryCapture } from './secondary-capture.ts';

describeWith([PYTHON, 'dciodvfy', 'dcm2pnm'], 'secondary captures, as others read them', () => {
  for (const [name, scored] of Object.entries(SOURCES)) {
    describe(name, () => {
      const result = scored();
      const [object] = secondaryCaptures(result);
      const index = result.slices.findIndex(({ score }) => score.flagged);
      const { slice, header, score } = result.slices[index];

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
        const picture = heatmapOverlay(result.heatmaps[index], score, result.bundleTitle);
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

const bytesOf = (study: ScoredStudy) => Buffer.concat(secondaryCaptures(study).map(({ bytes }) => bytes));
const uidsOf = (study: ScoredStudy) => secondaryCaptures(study).map(({ sopInstanceUID }) => sopInstanceUID);

test('the same input gives the same bytes', () => {
  expect(bytesOf(SOURCES['CT volume']()).equals(bytesOf(SOURCES['CT volume']()))).toBe(true);
});

test('another bundle, other settings, another writer or other sources give other UIDs', () => {
  const study = SOURCES['CT volume']();
  const variants = [
    study,
    { ...study, algorithm: { ...study.algorithm, algorithmVersion: 'brain-mri@ba9876543210' } },
    { ...study, algorithm: { ...study.algorithm, softwareVersion: '0.2.0' } },
    { ...study, outputSettings: 'sc=all' },
    { ...study, sourceUIDs: study.sourceUIDs.slice(1) },
  ];
  const uids = variants.flatMap((variant) => uidsOf(variant));
  expect(new Set(uids).size).toBe(variants.length);
});

test('what cannot be drawn is refused by name', () => {
  const study = scoredProjection();
  const [scored] = study.slices;
  const [heatmap] = study.heatmaps;
  const drawing = (part: object) => () => secondaryCapture(study, scored, 0, { ...heatmap, ...part });
  expect(drawing({ mapRows: 3 })).toThrow('map is not mapRows × mapColumns');
  expect(drawing({ map: heatmap.map.map(() => NaN) })).toThrow('not finite');
  expect(drawing({ mapThreshold: 0 })).toThrow('mapThreshold');
  expect(drawing({ gridToSlice: [1, 1, 0, 1, 1, 0] })).toThrow('cannot be inverted');
  expect(drawing({ rows: 20, columns: 20, pixels: new Uint8Array(400) })).toThrow('cannot carry the notice');

  const of = (part: object) => () => secondaryCapture(study, { ...scored, ...part }, 0, heatmap);
  expect(of({ score: { ...scored.score, threshold: Infinity } })).toThrow(
    `slice ${scored.slice.sopInstanceUID} frame 1: threshold is not finite`,
  );
  expect(of({ header: { ...scored.header, '0020000D': { vr: 'UI', Value: ['1.02'] } } })).toThrow(
    'StudyInstanceUID',
  );
  expect(() => secondaryCapture({ ...study, sourceUIDs: [] }, scored, 0, heatmap)).toThrow(
    'not among the sources',
  );
});

test('malformed values of the source are left out, and never named', () => {
  const study = scoredProjection();
  const header = { ...study.slices[0].header, '00100030': { vr: 'DA', Value: ['1950-Jan-01'] } };
  const bytes = bytesOf({ ...study, slices: [{ ...study.slices[0], header }] });
  expect(bytes.includes('1950-Jan')).toBe(false);
  // Type 2: present and empty.
  expect(bytes.includes(Buffer.from([0x10, 0x00, 0x30, 0x00, 0x44, 0x41, 0, 0]))).toBe(true);
});
