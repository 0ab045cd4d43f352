import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeWith } from '../fixtures/required-program.ts';
import type { DicomJson } from './dicom-json.ts';
import { stringOf } from './keyword.ts';
import { pydicom, python } from './pydicom-reference.ts';
import { everyObject, judge, SOURCES } from './scored-study.fixture.ts';

/** What dciodvfy calls the IOD of each kind. */
const IODS: Record<string, string> = {
  'SR comprehensive-3d': 'Comprehensive3DSR',
  'SR comprehensive': 'ComprehensiveSR',
  SC: 'SCImage',
  SEG: 'Segmentation',
  PMAP: 'ParametricMap',
  KO: 'KeyObjectSelectionDocument',
  PR: 'GrayscaleSoftcopyPresentationState',
};

/** Which kinds each source has; a presentation state is grey, and only a volume has segments and a map. */
const everyKind = Object.keys(IODS);
const KINDS: Record<keyof typeof SOURCES, string[]> = {
  'CT volume': everyKind,
  'MR volume': everyKind,
  'CR without geometry': everyKind.filter((kind) => !['SEG', 'PMAP'].includes(kind)),
  'multi-frame OCT': everyKind.filter((kind) => !['SEG', 'PMAP'].includes(kind)),
  'multi-frame MR volume': everyKind,
  'colour photograph': everyKind.filter((kind) => !['SEG', 'PMAP', 'PR'].includes(kind)),
};

const kindOf = (name: string) => name.replace(/ \d+$/, '');

describeWith([python, 'dciodvfy', 'dcmdump'], 'every kind of result object', () => {
  for (const [source, scored] of Object.entries(SOURCES)) {
    describe(source, () => {
      const study = scored();
      const objects = everyObject(study);

      test('each kind is there that applies', () => {
        expect([...new Set(Object.keys(objects).map(kindOf))]).toEqual(KINDS[source as keyof typeof SOURCES]);
      });

      test.each(Object.entries(objects))(
        'dciodvfy finds no error, dcmdump reads all of %s',
        (name, object) => {
          const { output } = judge(object.bytes, 'dciodvfy');
          expect(output).toContain(IODS[kindOf(name)]);
          expect(output).not.toMatch(/^Error/m);
          const dump = judge(object.bytes, 'dcmdump', '--quiet');
          expect(dump.status).toBe(0);
          expect(dump.output).not.toMatch(/^[EW]:/m);
        },
      );

      test('pydicom reads the patient, the study and the equipment in each', () => {
        const header = study.slices[0].header;
        for (const read of Object.values(readAll(objects))) {
          expect(read['00100010']).toEqual(header['00100010']);
          expect(stringOf(read, 'StudyInstanceUID')).toBe(stringOf(header, 'StudyInstanceUID'));
          expect(stringOf(read, 'StudyDescription')).toBe('Ünïcode Żółć');
          expect(stringOf(read, 'SeriesDescription')).toMatch(/UNTRAINED.*Not for diagnostic use/);
          expect(stringOf(read, 'DeviceUID')).toBe(study.algorithm.deviceUID);
          expect(stringOf(read, 'ContentDate')).toBe('20240301');
        }
      });

      test('a second run gives the same bytes, and no two objects a UID', () => {
        const again = everyObject(scored());
        for (const [name, { bytes }] of Object.entries(objects)) {
          expect(Buffer.from(bytes).equals(again[name].bytes)).toBe(true);
        }
        const uids = Object.values(objects).map(({ sopInstanceUID }) => sopInstanceUID);
        expect(new Set(uids).size).toBe(uids.length);
      });
    });
  }
});

/** The data sets as pydicom reads them, by name. */
function readAll(objects: ReturnType<typeof everyObject>): Record<string, DicomJson> {
  const folder = mkdtempSync(join(tmpdir(), 'qfae-objects-'));
  try {
    const files = Object.entries(objects).map(([name, { bytes }]) => {
      writeFileSync(join(folder, name), bytes);
      return [name, join(folder, name)];
    });
    return pydicom(
      'output = {name: pydicom.dcmread(file, stop_before_pixels=True).to_json_dict() for name, file in input}',
      files,
    ) as Record<string, DicomJson>;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
