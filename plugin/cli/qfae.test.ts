import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeCTSeries, writeMRSeries } from '../../fixtures/dicom-series.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-cli-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Runs `qfae` with a data folder of its own. */
function qfae(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const script = new URL('qfae.ts', import.meta.url).pathname;
  const env = { PATH: process.env['PATH'], QFAE_BUNDLE: 'untrained', QFAE_DATA: join(folder, 'data') };
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...words], { env, cwd: folder }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

const jsonLines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('qfae score', () => {
  test('tells a line a slice and a line a study, and writes results and pictures', async () => {
    await writeMRSeries(join(folder, 'two', 'mr'), brainStudy({ seed: 1, slices: 3 }), { name: 'One' });
    await writeCTSeries(join(folder, 'two', 'ct'), { name: 'Two' });
    writeFileSync(join(folder, 'two', 'notes.txt'), 'no DICOM');
    const out = join(folder, 'out');
    const { code, stdout, stderr } = await qfae('score', join(folder, 'two'), '--out', out, '--json');
    expect([code, stderr]).toEqual([0, expect.stringMatching(/notes\.txt: passed over/)]);

    const lines = jsonLines(stdout);
    const studies = lines.filter(({ type }) => type === 'study');
    expect(studies).toHaveLength(2);
    for (const study of studies) {
      expect(study).toEqual({
        type: 'study',
        studyInstanceUID: expect.stringMatching(/^2\.25\.\d+$/),
        status: 'scored',
        rawScore: expect.any(Number),
        pValue: expect.any(Number),
        percentile: expect.any(Number),
        threshold: expect.any(Number),
        flagged: expect.any(Boolean),
        seriesInstanceUID: expect.stringMatching(/^2\.25\.\d+$/),
        remarks: [],
        notScored: [],
        bundle: expect.stringMatching(/^untrained@/),
      });
    }
    const slices = lines.filter(({ type }) => type === 'slice');
    expect(Object.keys(slices[0])).toEqual([
      'type',
      'sopInstanceUID',
      'frame',
      'rawScore',
      'pValue',
      'percentile',
      'flagged',
    ]);
    const names = readdirSync(out);
    expect(names).toEqual(expect.arrayContaining(['sr-1.dcm', 'sr-2.dcm', 'sc-001.dcm', 'heatmap-001.png']));
  });

  test('scores pictures, and a grey and a colour copy of one alike', async () => {
    mkdirSync(join(folder, 'pictures'));
    const grey = Buffer.from(Array.from({ length: 60 * 80 }, (_, i) => (i * 7) % 251));
    const picture = () => sharp(grey, { raw: { width: 80, height: 60, channels: 1 } });
    await picture()
      .png()
      .toFile(join(folder, 'pictures', 'grey.png'));
    await picture()
      .toColourspace('srgb')
      .png()
      .toFile(join(folder, 'pictures', 'colour.png'));
    const { code, stdout } = await qfae('score', join(folder, 'pictures'), '--json');
    expect(code).toBe(0);
    const [colour, same] = jsonLines(stdout).filter(({ type }) => type === 'study');
    expect(colour).toMatchObject({ status: 'scored', file: expect.stringMatching(/colour\.png$/) });
    expect(colour['rawScore']).toBeCloseTo(same['rawScore'] as number, 6);
  });

  test('names a file that cannot be read, and ends with 1', async () => {
    const broken = join(folder, 'broken.dcm');
    writeFileSync(broken, 'garbage');
    const { code, stdout, stderr } = await qfae('score', broken, '--json');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/broken\.dcm: /);
    expect((await qfae('score', join(folder, 'missing'))).code).toBe(1);
  });
});

test('qfae bundles lists, shows and verifies the untrained bundle', async () => {
  const list = await qfae('bundles', 'list', '--json');
  const listed = jsonLines(list.stdout);
  expect(listed.map(({ promoted }) => promoted)).not.toContain(false);
  const bundle = listed.find(({ profile }) => profile === 'untrained')!;
  expect(bundle).toMatchObject({
    type: 'bundle',
    promoted: true,
    title: expect.stringMatching(/untrained/i),
  });
  const show = await qfae('bundles', 'show', 'untrained');
  expect(JSON.parse(show.stdout)).toMatchObject({ id: bundle['id'], heads: [expect.anything()] });
  expect((await qfae('bundles', 'verify', bundle['id'] as string)).code).toBe(0);
  const none = await qfae('bundles', 'verify', 'nobody');
  expect([none.code, none.stderr]).toEqual([1, expect.stringMatching(/nobody/)]);
});

test('qfae doctor finds everything in order, and an archive that is away', async () => {
  const sound = await qfae('doctor', '--json');
  expect(sound.code).toBe(0);
  expect(jsonLines(sound.stdout).map(({ check }) => check)).toEqual(
    expect.arrayContaining(['execution providers', 'bundle', 'store', 'archive']),
  );
  const settings = 'orthanc:\n  url: http://127.0.0.1:9\ninference:\n  precision: float16\n';
  writeFileSync(join(folder, 'qfae.yaml'), settings);
  const away = await qfae('doctor', '--json');
  rmSync(join(folder, 'qfae.yaml'));
  expect(away.code).toBe(1);
  const findings = jsonLines(away.stdout);
  expect(findings.filter(({ ok }) => !ok)).toMatchObject([{ check: 'archive' }]);
  expect(findings.find(({ check }) => check === 'bundle')!['detail']).toMatch(
    /is calibrated in float32 and scores in float16: .* qfae calibrate --bundle/,
  );
}, 300_000);

test('wrong usage ends with 2', async () => {
  expect((await qfae('score')).code).toBe(2);
  expect((await qfae('scroe')).code).toBe(2);
  expect((await qfae('score', 'x', '--batch-size', '0')).code).toBe(2);
  expect((await qfae('bundles', 'show')).code).toBe(2);
  expect((await qfae('bundles', 'list', '--bad')).code).toBe(2);
  expect((await qfae('--help')).code).toBe(0);
}, 300_000);
