import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';

const folder = mkdtempSync(join(tmpdir(), 'qfae-rules-cli-'));

/** Each command is a process of its own. */
const timeout = 300_000;

afterAll(() => {
  rmSync(folder, { recursive: true });
});

const rules = (...words: string[]) => qfae('rules', ...words);

function qfae(...words: string[]) {
  const script = new URL('qfae.ts', import.meta.url).pathname;
  const env = {
    PATH: process.env['PATH'],
    QFAE_BUNDLE: 'untrained',
    QFAE_DATA: join(folder, 'data'),
    QFAE_HTTP_PORT: '9',
  };
  return spawnSync(process.execPath, [script, ...words], { env, cwd: folder, encoding: 'utf8' });
}

test(
  'a file of rules is checked, line by line',
  () => {
    writeFileSync(join(folder, 'wrong.yaml'), 'rules:\n  - name: a\n    to: nowhere\n');
    const wrong = rules('check', 'wrong.yaml');
    expect([wrong.status, wrong.stdout, wrong.stderr]).toEqual([
      1,
      '',
      'wrong.yaml:3: rules.0.to: no archive nowhere; there are: local\n',
    ]);
    expect(rules('check').stdout).toBe('1. every study\n');
    expect(rules('tset').status).toBe(2);
  },
  timeout,
);

test(
  'what would happen to a study in files is told, with each condition',
  async () => {
    await ensureUntrained(join(folder, 'data'));
    const { path, studyInstanceUID } = await writeCRImage(join(folder, 'cr'), { name: 'Cli' });
    writeFileSync(
      join(folder, 'rules.yaml'),
      'rules:\n  - name: MR\n    study: { Modality: MR }\n  - name: X-ray\n    study: { PatientName: "*cli*" }\n    priority: 2\n',
    );
    const { status, stdout } = rules('test', path, '--json');
    expect([status, JSON.parse(stdout)]).toEqual([
      0,
      expect.objectContaining({
        type: 'rules-test',
        studyInstanceUID,
        rule: 'X-ray',
        plan: expect.objectContaining({
          bundle: expect.stringMatching(/^untrained@/),
          to: ['local'],
          priority: 2,
        }),
      }),
    ]);
    const told = rules('test', join(folder, 'cr')).stdout;
    expect(told).toContain('no   Modality is CR; wanted "MR"');
    expect(told).toContain('→ X-ray: applies');
    expect(told).not.toContain('Sample');
    const absent = rules('test', '1.2.3');
    expect([absent.status, absent.stderr]).toEqual([
      1,
      expect.stringContaining('archive local holds nothing of study 1.2.3'),
    ]);
  },
  timeout,
);

test(
  'what would happen to a stored study is told where no node runs',
  async () => {
    const { bytes, studyInstanceUID, seriesInstanceUID, sopInstanceUID } = await writeCRImage(
      join(folder, 'in'),
      {
        name: 'Stored',
      },
    );
    const place = join(folder, 'data/instances', studyInstanceUID, seriesInstanceUID);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `${sopInstanceUID}.dcm`), bytes);
    expect(qfae('reindex').stdout).toMatch(/^1 instances entered.*\nNo file tells.*what readers said/);
    writeFileSync(join(folder, 'none.yaml'), 'rules:\n  - name: nothing\n    score: false\n');
    const { status, stdout } = rules('test', studyInstanceUID, '--rules', 'none.yaml', '--json');
    expect([status, JSON.parse(stdout)]).toEqual([
      0,
      expect.objectContaining({ studyInstanceUID, rule: 'nothing', plan: null }),
    ]);
  },
  timeout,
);
