import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadSettings } from '../settings.ts';

const qfae = fileURLToPath(new URL('qfae.ts', import.meta.url));
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-init-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function init(answers: string[], ...options: string[]) {
  return spawnSync(process.execPath, [qfae, 'init', ...options], {
    cwd: folder,
    input: answers.map((answer) => `${answer}\n`).join(''),
    encoding: 'utf8',
  });
}

test('asks again where an answer is wrong, and writes settings that are read as they were answered', () => {
  const { status, stderr } = init([
    ...['/srv/qfae "here"', 'eighty', '9000', ''],
    ...['127.0.0.1:8042', 'http://127.0.0.1:8042', 'reader', '0123: #x'],
  ]);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(stderr).toMatch(/expected number/);
  expect(stderr).toMatch(/Invalid URL/);
  const file = join(folder, 'qfae.yaml');
  expect(loadSettings({ QFAE_CONFIG: file })).toMatchObject({
    data: '/srv/qfae "here"',
    http: { port: 9000 },
    arrival: { quietSeconds: 60 },
    orthanc: { url: 'http://127.0.0.1:8042', username: 'reader', password: '0123: #x' },
  });
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('replaces no file unasked, and writes none when the input ends', () => {
  const before = readFileSync(join(folder, 'qfae.yaml'), 'utf8');
  expect(init(['', '', '', '']).status).toBe(1);
  const cut = init(['other'], '--force');
  expect([cut.status, cut.stderr]).toEqual([1, expect.stringMatching(/input ended.*nothing is written/)]);
  expect(readFileSync(join(folder, 'qfae.yaml'), 'utf8')).toBe(before);
  expect(init(['', '', '', ''], '--force').status).toBe(0);
  expect(loadSettings({ QFAE_CONFIG: join(folder, 'qfae.yaml') }).orthanc).toBeUndefined();
});
