import { describeWith } from '../../fixtures/required-program.ts';
import { itemsOf, stringOf, stringsOf } from '../writing/keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import type { StudyResult } from '../result.ts';
import { judge, PYTHON, readByPydicom, scoredProjection, SOURCES } from '../writing/scored-study.fixture.ts';
import { codeOf } from './code.ts';
import { measurementReport } from './measurement-report.ts';
import { readMeasurementReport } from './read-measurement-report.ts';

const PREDECESSOR = {
  sopClassUID: '1.2.840.10008.5.1.4.1.1.88.34',
  sopInstanceUID: '2.25.111',
  seriesInstanceUID: '2.25.112',
};

/** All content items, depth first, each with its parent. */
function* tree(item: DicomJson): Generator<{ item: DicomJson; parent: DicomJson }> {
  for (const child of itemsOf(item, 'ContentSequence')) {
    yield { item: child, parent: item };
    yield* tree(child);
  }
}
const nameOf = (item: DicomJson) => itemsOf(item, 'ConceptNameCodeSequence').map(codeOf).at(0)?.meaning;
const templateOf = (item: DicomJson) =>
  itemsOf(item, 'ContentTemplateSequence').map((template) => stringOf(template, 'TemplateIdentifier'))[0];

describeWith([PYTHON, 'dciodvfy', 'dsrdump'], 'measurement reports, as others read them', () => {
  for (const [name, scored] of Object.entries(SOURCES)) {
    describe(name, () => {
      const result: StudyResult = { ...scored(), predecessor: PREDECESSOR };
      const flagged = result.slices.filter(({ score }) => score.flagged);

      for (const sopClass of ['comprehensive-3d', 'comprehensive'] as const) {
        const { bytes } = measurementReport(result, sopClass);

        test(`dciodvfy and dsrdump find no error (${sopClass})`, () => {
          const { output } = judge(bytes, 'dciodvfy');
          expect(output).toContain(sopClass === 'comprehensive' ? 'ComprehensiveSR' : 'Comprehensive3DSR');
          expect(output).not.toMatch(/^Error/m);
          const dump = judge(bytes, 'dsrdump');
          expect(dump.status).toBe(0);
          // dsrdump says of every UTF-8 file that it did not check its VRs.
          expect(dump.output).not.toMatch(/^(E:|W: (?!The VR checker does not support))/m);
          expect(dump.output).toContain('Imaging Measurement Report');
        });
      }

      const read = readByPydicom(measurementReport(result).bytes);
      const items = [...tree(read)];

      test('the numbers come back exactly, and as decimals within 1e-7', () => {
        const scores = readMeasurementReport(read);
        expect(scores.study).toEqual(result.study);
        expect(scores.falsePositiveRate).toBe(result.falsePositiveRate);
        expect(scores.algorithmVersion).toBe(result.algorithm.algorithmVersion);
        expect(scores.bundleTitle).toBe(result.bundleTitle);
        expect(scores.slices).toEqual(
          flagged.map(({ slice, score }) => ({
            sopInstanceUID: slice.sopInstanceUID,
            frame: slice.frame,
            score,
            mapThreshold: result.mapThreshold,
          })),
        );
        for (const measured of items.flatMap(({ item }) => itemsOf(item, 'MeasuredValueSequence'))) {
          const exact = Number(stringOf(measured, 'FloatingPointValue'));
          expect(Math.abs(Number(stringOf(measured, 'NumericValue')) / exact - 1)).toBeLessThan(1e-7);
        }
      });

      test('the evidence lists each referenced instance once, and nothing else', () => {
        const listed = itemsOf(read, 'CurrentRequestedProcedureEvidenceSequence')
          .flatMap((study) => itemsOf(study, 'ReferencedSeriesSequence'))
          .flatMap((series) => itemsOf(series, 'ReferencedSOPSequence'))
          .map((reference) => stringOf(reference, 'ReferencedSOPInstanceUID'));
        const referenced = items
          .flatMap(({ item }) => itemsOf(item, 'ReferencedSOPSequence'))
          .map((reference) => stringOf(reference, 'ReferencedSOPInstanceUID'));
        expect(new Set(listed).size).toBe(listed.length);
        expect(new Set(listed)).toEqual(new Set(referenced));
        expect(new Set(listed)).toEqual(new Set(result.slices.map(({ slice }) => slice.sopInstanceUID)));
      });

      test('groups follow their templates, numbers of slices name their image', () => {
        const groups = items.filter(({ item }) => nameOf(item) === 'Measurement Group');
        expect(groups.map(({ item }) => templateOf(item))).toEqual(['1410', '1410', '1501']);
        for (const { item, parent } of groups) {
          expect(nameOf(parent)).toBe(
            templateOf(item) === '1410' ? 'Imaging Measurements' : 'Derived Imaging Measurements',
          );
          const children = itemsOf(item, 'ContentSequence').map(nameOf);
          expect(children).toEqual(
            expect.arrayContaining(['Tracking Identifier', 'Tracking Unique Identifier']),
          );
          expect(children).not.toContain(undefined);
        }
        const numbers = items.filter(
          ({ item, parent }) => stringOf(item, 'ValueType') === 'NUM' && templateOf(parent) === '1501',
        );
        for (const { item } of numbers) {
          const [image] = itemsOf(item, 'ContentSequence');
          expect([stringOf(image, 'RelationshipType'), stringOf(image, 'ValueType')]).toEqual([
            'INFERRED FROM',
            'IMAGE',
          ]);
        }
        expect(numbers).toHaveLength(5);
      });

      test('regions are closed outlines within the image, selected from it', () => {
        const regions = items.filter(({ item }) => stringOf(item, 'ValueType') === 'SCOORD');
        expect(regions).toHaveLength(2);
        const { slice } = flagged[0];
        for (const { item } of regions) {
          const data = stringsOf(item, 'GraphicData').map(Number);
          expect(data.slice(0, 2)).toEqual(data.slice(-2));
          expect(data.filter((_, index) => index % 2 === 0).every((x) => x >= 0 && x <= slice.columns)).toBe(
            true,
          );
          expect(data.filter((_, index) => index % 2 === 1).every((y) => y >= 0 && y <= slice.rows)).toBe(
            true,
          );
          const [image] = itemsOf(item, 'ContentSequence');
          expect([stringOf(image, 'RelationshipType'), nameOf(image)]).toEqual([
            'SELECTED FROM',
            'Original Source',
          ]);
        }
      });

      test('patient, predecessor, coding scheme, observer and restriction are in it', () => {
        expect(read['00100010']).toEqual(result.slices[0].header['00100010']);
        const [predecessor] = itemsOf(read, 'PredecessorDocumentsSequence');
        expect(JSON.stringify(predecessor)).toContain(PREDECESSOR.sopInstanceUID);
        expect(
          itemsOf(read, 'CodingSchemeIdentificationSequence').map((item) =>
            stringOf(item, 'CodingSchemeDesignator'),
          ),
        ).toEqual(['99QFAE']);
        const text = items.map(({ item }) => stringOf(item, 'TextValue') ?? '').join('\n');
        expect(text).toContain('Not for diagnostic use');
        expect(text).toContain('UNTRAINED');
        const observer = items.find(({ item }) => nameOf(item) === 'Observer Type')!.item;
        expect(itemsOf(observer, 'ConceptCodeSequence').map(codeOf)).toEqual([
          { value: '121007', scheme: 'DCM', meaning: 'Device' },
        ]);
      });
    });
  }

  test('the procedure reported is the source’s, else imaging in general', () => {
    const procedure = (result: StudyResult) =>
      [...tree(readByPydicom(measurementReport(result).bytes))]
        .filter(({ item }) => nameOf(item) === 'Procedure reported')
        .flatMap(({ item }) => itemsOf(item, 'ConceptCodeSequence').map((value) => codeOf(value)?.value));
    expect(procedure(SOURCES['CT volume']())).toEqual(['77477000']);
    expect(procedure(scoredProjection())).toEqual(['363679005']);
  });

  test('without a flagged slice the highest one is reported, with no region if none is above the map’s threshold', () => {
    const result = SOURCES['CT volume']();
    const quiet = { ...result, slices: [result.slices[0], result.slices[2]] };
    const { bytes } = measurementReport(quiet);
    expect(judge(bytes, 'dciodvfy').output).not.toMatch(/^Error/m);
    const read = readByPydicom(bytes);
    expect(readMeasurementReport(read).slices.map(({ sopInstanceUID }) => sopInstanceUID)).toEqual([
      result.slices[0].slice.sopInstanceUID,
    ]);
    expect([...tree(read)].some(({ item }) => stringOf(item, 'ValueType') === 'SCOORD')).toBe(false);
  });
});

test('the same input gives the same bytes; another bundle, other settings, another class give another UID', () => {
  const result = SOURCES['MR volume']();
  const again = measurementReport(SOURCES['MR volume']());
  const first = measurementReport(result);
  expect(Buffer.from(first.bytes).equals(again.bytes)).toBe(true);
  const uids = [
    first,
    measurementReport(result, 'comprehensive'),
    measurementReport({ ...result, outputSettings: 'sr' }),
    measurementReport({
      ...result,
      algorithm: { ...result.algorithm, algorithmVersion: 'other@000000000000' },
    }),
  ].map(({ sopInstanceUID }) => sopInstanceUID);
  expect(new Set(uids).size).toBe(4);
});

test('a data set that is no report of ours is refused by the name of what it lacks', () => {
  expect(() => readMeasurementReport({})).toThrow('no Derived Imaging Measurements (126011, DCM)');
});
