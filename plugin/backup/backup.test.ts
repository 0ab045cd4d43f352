import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { create } from 'tar';
import { writeCRImage } from '../../fixtures/dicom-series.ts';
import { startNodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { addSlices } from '../../training/slice-cache.ts';
import { backUp, restore } from './backup.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-backup-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

const qfae = (data: string, port: string, ...words: string[]) =>
  promisify(execFile)(process.execPath, [new URL('../cli/qfae.ts', import.meta.url).pathname, ...words], {
    env: { PATH: process.env['PATH'], QFAE_DATA: data, QFAE_HTTP_PORT: port },
  });

test('what a running node holds is there again after backup and restore', async () => {
  const data = join(folder, 'data');
  const backup = join(folder, 'backup.tar');
  const environment = { QFAE_JOBS_WORK: 'false' };
  const node = await startNodeProcess({ ...environment, QFAE_DATA: data });
  const image = await writeCRImage(join(folder, 'cr'), { name: 'Backup' });
  try {
    expect((await stow(node.dicomWebUrl, [image.bytes])).status).toBe(200);
    const { port } = new URL(node.url);
    await qfae(data, port, 'backup', backup);
    await expect(backUp(data, backup, undefined)).rejects.toThrow(/exists already/);
  } finally {
    await node.stop();
  }
  expect(readdirSync(data)).not.toContain('database.tar');
  await expect(restore(backup, data)).rejects.toThrow(/not empty/);

  const again = join(folder, 'restored');
  await qfae(again, '0', 'restore', backup);
  const restored = await startNodeProcess({ ...environment, QFAE_DATA: again });
  try {
    const answer = await fetch(`${restored.dicomWebUrl}/studies/${image.studyInstanceUID}`);
    expect(Buffer.from(await answer.arrayBuffer()).includes(Buffer.from(image.bytes))).toBe(true);
    expect((await fetch(`${restored.dicomWebUrl}/studies`)).status).toBe(200);
  } finally {
    await restored.stop();
  }
  expect(readdirSync(folder).sort()).toEqual(['backup.tar', 'cr', 'data', 'restored']);
}, 600_000);

test('a damaged backup, another archive, and one that leads out are refused, and nothing is left', async () => {
  const source = join(folder, 'source');
  mkdirSync(join(source, 'inside'), { recursive: true });
  writeFileSync(join(source, 'outside'), 'evil');
  writeFileSync(join(source, 'inside/layout'), '1\n');
  const archive = (name: string, ...entries: string[]) => {
    const file = join(folder, name);
    create({ cwd: join(source, 'inside'), file, sync: true, preservePaths: true }, entries);
    return file;
  };
  const target = join(folder, 'target');
  writeFileSync(join(source, 'newer'), '2\n');
  const good = readFileSync(archive('good.tar', 'layout'));
  const damaged = join(folder, 'damaged.tar');
  writeFileSync(damaged, good.subarray(0, 700));
  for (const file of [
    archive('evil.tar', 'layout', '../outside'),
    archive('other.tar', '../newer'),
    damaged,
  ]) {
    await expect(restore(file, target)).rejects.toThrow();
    expect(existsSync(target)).toBe(false);
  }
  writeFileSync(join(source, 'inside/layout'), '2\n');
  await expect(restore(archive('newer.tar', 'layout'), target)).rejects.toThrow(/layout 2/);
  expect(readdirSync(folder).filter((name) => name.startsWith('target'))).toEqual([]);
});

test("a run's slices are exported as pictures that name nobody", async () => {
  const data = join(folder, 'export');
  const pixels = Uint8Array.from({ length: 12 }, (_, i) => i);
  const slice = (patient: string, study: string) => ({ patient, study, rows: 3, columns: 4, pixels });
  await addSlices(join(data, 'runs/retrain-x-1/normal-slices'), [
    slice('Doe^Jane', '1.2.3'),
    slice('Roe^Rick', '1.2.4'),
  ]);
  const out = join(folder, 'pictures');
  await qfae(data, '0', 'export', 'retrain-x-1', '--out', out);
  const names = readdirSync(out, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.png'));
  expect(names.sort()).toEqual(['normal/patient-0001/slice-001.png', 'normal/patient-0002/slice-001.png']);
  const picture = sharp(join(out, names[0]));
  expect(await picture.metadata()).toMatchObject({ width: 4, height: 3, channels: 1, depth: 'uchar' });
  expect([...(await picture.toColourspace('b-w').raw().toBuffer())]).toEqual([...pixels]);
  expect(readFileSync(join(out, names[0])).toString('latin1')).not.toMatch(/Doe|1\.2\.3/);
  await expect(qfae(data, '0', 'export', '../x', '--out', out)).rejects.toThrow(/not the name of a run/);
}, 300_000);
