import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeWith } from '../../fixtures/required-program.ts';
import type { DicomJson } from '../dicom-json.ts';
import { stringOf } from './keyword.ts';
import { pydicom, python } from '../pydicom-reference.ts';
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

  test('pydicom reads the patient, the study and the equipment in each', () => {
    const folder = mkdtempSync(join(tmpdir(), 'qfae-objects-'));
    const written = Object.values(SOURCES).flatMap((scored, i) => {
      const study = scored();
      return Object.entries(everyObject(study)).map(([name, { bytes }]) => {
        const file = join(folder, `${i} ${name}`);
        writeFileSync(file, bytes);
        return { file, study };
      });
    });
    // One call for all: Python takes its time to start.
    const read = pydicom(
      'output = [pydicom.dcmread(file, stop_before_pixels=True).to_json_dict() for file in input]',
      written.map(({ file }) => file),
    ) as DicomJson[];
    rmSync(folder, { recursive: true });
    expect(read.length).toBeGreaterThan(30);
    read.forEach((dataset, i) => {
      const { algorithm, slices } = written[i].study;
      const [{ header }] = slices;
      expect(dataset['00100010']).toEqual(header['00100010']);
      expect(stringOf(dataset, 'StudyInstanceUID')).toBe(stringOf(header, 'StudyInstanceUID'));
      expect(stringOf(dataset, 'StudyDescription')).toBe('Ünïcode Żółć');
      expect(stringOf(dataset, 'SeriesDescription')).toMatch(/UNTRAINED.*Not for diagnostic use/);
      expect(stringOf(dataset, 'DeviceUID')).toBe(algorithm.deviceUID);
      expect(stringOf(dataset, 'ContentDate')).toBe('20240301');
    });
  });
});
