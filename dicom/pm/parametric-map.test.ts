import { describeWith } from '../../fixtures/required-program.ts';
import { pydicom, python } from '../pydicom-reference.ts';
import { percentilesOf, type ScoredStudy, SOURCES } from '../writing/scored-study.fixture.ts';
import { parametricMap, parametricMapFrame } from './parametric-map.ts';

const fileOf = (study: ScoredStudy) => {
  const { head } = parametricMap(study);
  return Buffer.concat([
    head,
    ...study.heatmaps.map((heatmap) => parametricMapFrame(percentilesOf(heatmap))),
  ]);
};

describeWith([python], 'parametric maps, as pydicom reads them', () => {
  for (const name of ['CT volume', 'multi-frame MR volume'] as const) {
    test(`${name}: a frame of floats for each slice, empty ones too`, () => {
      const study = SOURCES[name]();
      const read = pydicom(
        `
import io
data = pydicom.dcmread(io.BytesIO(base64.b64decode(input)))
frames = data.PerFrameFunctionalGroupsSequence
mapping = data.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
output = {
  'shape': list(data.pixel_array.shape),
  'values': base64.b64encode(data.pixel_array.astype('<f4').tobytes()).decode(),
  'positions': [[float(x) for x in frame.PlanePositionSequence[0].ImagePositionPatient] for frame in frames],
  'sources': [data.SharedFunctionalGroupsSequence[0].get('DerivationImageSequence', frame.get('DerivationImageSequence'))[0].SourceImageSequence[0].ReferencedSOPInstanceUID for frame in frames],
  'unit': mapping.MeasurementUnitsCodeSequence[0].CodeValue,
  'qualification': data.ContentQualification,
}`,
        fileOf(study).toString('base64'),
      ) as Record<string, unknown>;
      const [{ slice }] = study.slices;
      const expected = study.heatmaps.map((heatmap) => percentilesOf(heatmap).map((value) => value / 100));
      expect(read).toEqual({
        shape: [3, slice.rows, slice.columns],
        values: Buffer.concat(expected.map((frame) => Buffer.from(frame.buffer))).toString('base64'),
        positions: study.slices.map((scored) => scored.slice.geometry!.imagePositionPatient),
        sources: study.slices.map((scored) => scored.slice.sopInstanceUID),
        unit: '1',
        qualification: 'RESEARCH',
      });
      expect(Math.max(...expected[1])).toBeGreaterThan(0.9);
      expect(Math.max(...expected[0])).toBeLessThan(0.5);
    });
  }
});

test('a map beyond the length of a value is refused', () => {
  const study = SOURCES['MR volume']();
  const huge = study.slices.map((scored) => ({
    ...scored,
    slice: { ...scored.slice, rows: 32768, columns: 32768 },
  }));
  expect(() => parametricMap({ ...study, slices: huge })).toThrow('too many for one parametric map');
});
