import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dataSet } from '../../dicom/writing/keyword.ts';
import { everyObject, SOURCES } from '../../dicom/writing/scored-study.fixture.ts';
import { writePart10 } from '../../dicom/writing/write-part10.ts';
import { describeWith } from '../../fixtures/required-program.ts';

const folder = mkdtempSync(join(tmpdir(), 'qfae-validate-'));
const objects = everyObject(SOURCES['MR volume']());

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, bytes: Uint8Array): string {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
}

/** Runs `qfae validate --json`; `path` is where programs are looked for. */
function validate(path: string, ...files: string[]) {
  const script = new URL('qfae.ts', import.meta.url).pathname;
  const env = { PATH: path };
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, 'validate', '--json', ...files], {
    env,
    encoding: 'utf8',
  });
  const lines = stdout.split('\n').filter((line) => line !== '');
  return { status, stderr, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describeWith(['dciodvfy'], 'qfae validate', () => {
  test('finds nothing wrong in a report and a segmentation', () => {
    const files = ['SR comprehensive-3d 1', 'SEG 1'].map((name) => file(name, objects[name].bytes));
    const { status, lines } = validate(process.env['PATH']!, ...files);
    expect(status).toBe(0);
    const results = lines.filter(({ type }) => type === 'validation');
    expect(results.map(({ file: of }) => of)).toEqual(files);
    for (const result of results) {
      expect(result).toMatchObject({ checkedBy: ['dciodvfy', 'template'], errors: 0 });
    }
  });

  test("ends with 1 for an object that is not what it says, with dciodvfy's and our own findings", () => {
    const nothing = dataSet({
      SOPClassUID: '1.2.840.10008.5.1.4.1.1.88.34',
      SOPInstanceUID: '2.25.1',
      StudyInstanceUID: '2.25.2',
      SeriesInstanceUID: '2.25.3',
      PatientID: 'SECRET-ID',
      PatientBirthDate: '19500101',
    });
    const { status, lines } = validate(process.env['PATH']!, file('nothing.dcm', writePart10(nothing)));
    expect(status).toBe(1);
    const sources = lines.filter(({ severity }) => severity === 'error').map(({ source }) => source);
    expect(new Set(sources)).toEqual(new Set(['dciodvfy', 'template']));
    expect(JSON.stringify(lines)).not.toMatch(/SECRET|19500101/);
  });
});

test('says so where dciodvfy is not installed; ends with 1 for what is no DICOM, with 2 without a file', () => {
  const report = file('report.dcm', objects['SR comprehensive-3d 1'].bytes);
  const { status, lines } = validate('/nowhere', report);
  expect(status).toBe(0);
  expect(lines).toEqual([
    expect.objectContaining({ type: 'validation', checkedBy: ['template'], errors: 0 }),
  ]);
  expect(validate('/nowhere', file('garbage.dcm', Buffer.from('garbage'))).status).toBe(1);
  expect(validate('/nowhere').status).toBe(2);
});
