import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pydicom, python } from '../../dicom/pydicom-reference.ts';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeCRImage, writeMRSeries } from '../../fixtures/dicom-series.ts';
import { describeWith } from '../../fixtures/required-program.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-outputs-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Scores what lies in `source` with the given `outputs`; the names of what it wrote but pictures. */
function score(source: string, out: string, outputs: Record<string, string>): string[] {
  const script = new URL('../cli/qfae.ts', import.meta.url).pathname;
  const settings = Object.entries(outputs).map(([key, value]) => [
    `QFAE_OUTPUTS_${key.toUpperCase()}`,
    value,
  ]);
  execFileSync(process.execPath, [script, 'score', source, '--out', out], {
    env: {
      PATH: process.env['PATH'],
      QFAE_BUNDLE: 'untrained',
      QFAE_DATA: join(folder, 'data'),
      ...Object.fromEntries(settings),
    },
    cwd: folder,
    stdio: 'ignore',
  });
  return readdirSync(out).filter((name) => !name.endsWith('.png'));
}

describeWith([python, 'dciodvfy'], 'the objects of a scored series', () => {
  test('of a volume each kind that the settings name, valid, segments and map of one mind', async () => {
    const source = join(folder, 'mr');
    await writeMRSeries(source, brainStudy({ seed: 1, slices: 3 }), { name: 'Volume' });
    const out = join(folder, 'everything');
    const names = score(source, out, { sr: 'comprehensive', sc: 'all', pmap: 'on', ko: 'on', pr: 'on' });
    expect(names).toEqual([
      'ko-1.dcm',
      'pmap-1.dcm',
      'pr-1.dcm',
      'sc-001.dcm',
      'sc-002.dcm',
      'sc-003.dcm',
      'seg-1.dcm',
      'sr-1.dcm',
    ]);
    for (const name of names) {
      const { stderr } = spawnSync('dciodvfy', [join(out, name)], { encoding: 'utf8' });
      expect({ name, errors: stderr.split('\n').filter((line) => line.startsWith('Error')) }).toEqual({
        name,
        errors: [],
      });
    }
    const read = pydicom(
      `
report, seg, map = [pydicom.dcmread(input + '/' + name + '-1.dcm') for name in ['sr', 'seg', 'pmap']]
values = map.pixel_array
mask = seg.pixel_array.reshape(seg.NumberOfFrames, seg.Rows, seg.Columns)
source = lambda data, i: data.PerFrameFunctionalGroupsSequence[i].DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
frames = {source(map, i): values[i] for i in range(map.NumberOfFrames)}
inside = [frames[source(seg, i)][mask[i] == 1] for i in range(len(mask))] if seg.NumberOfFrames > 1 else [numpy.ones(1)]
outside = [frames[source(seg, i)][mask[i] == 0] for i in range(len(mask))] if seg.NumberOfFrames > 1 else [numpy.zeros(1)]
output = {
  'sopClass': report.SOPClassUID,
  'shape': list(values.shape), 'rows': seg.Rows,
  'range': bool(values.min() >= 0 and values.max() < 1 and values.max() > values.min()),
  'ordered': all(i.size == 0 or o.size == 0 or i.min() >= o.max() for i, o in zip(inside, outside)),
}`,
      out,
    ) as { shape: number[]; rows: number };
    expect(read).toMatchObject({
      sopClass: '1.2.840.10008.5.1.4.1.1.88.33',
      shape: [3, read.rows, read.shape[2]],
      range: true,
      ordered: true,
    });
  });

  test('of a projection neither segments nor map; what is off is not written', async () => {
    const source = join(folder, 'cr');
    await writeCRImage(source, { name: 'Projection' });
    expect(score(source, join(folder, 'default'), { pmap: 'on' })).toEqual(['sc-001.dcm', 'sr-1.dcm']);
    expect(score(source, join(folder, 'little'), { sr: 'off', sc: 'off', pr: 'on' })).toEqual(['pr-1.dcm']);
  });
});
