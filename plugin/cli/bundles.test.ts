import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeMRSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy } from '../../fixtures/worklist.ts';
import { addBundle, openBundle } from '../../inference/bundle/registry.ts';
import { auditFolder } from '../access/audit-log.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';

let folder: string;
let node: NodeProcess;
let untrained: Bundle;
let successor: Bundle;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-bundles-'));
  node = await startNodeProcess({ QFAE_DATA: join(folder, 'node'), QFAE_ARRIVAL_QUIET_SECONDS: '1' });
  untrained = await openBundle(node.data, 'untrained');
  const { id, ...manifest } = untrained;
  successor = await addBundle(node.data, { ...manifest, title: `Follows ${id} (UNTRAINED)` });
});
afterAll(async () => {
  await node.stop();
  rmSync(folder, { recursive: true });
});

/** Runs `qfae bundles` on a data folder. */
function bundles(
  data: string,
  ...words: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const script = new URL('qfae.ts', import.meta.url).pathname;
  const env = { PATH: process.env['PATH'], QFAE_DATA: data };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [script, 'bundles', ...words],
      { env, cwd: folder },
      (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
      },
    );
  });
}

/** Sends a study of one slice and waits for its score; with which bundle? */
async function bundleThatScored(seed: number): Promise<string | null> {
  const series = await writeMRSeries(join(folder, `${seed}`), brainStudy({ seed, slices: 1 }), {
    name: `Bundles${seed}`,
  });
  await stow(
    node.dicomWebUrl,
    series.map(({ bytes }) => bytes),
  );
  const { status, bundle } = await scoredStudy(node.url, series[0].studyInstanceUID);
  expect(status).toBe('scored');
  return bundle;
}

test('a running node scores with what is promoted, from the next study on, and after a rollback again', async () => {
  expect(await bundleThatScored(1)).toBe(untrained.id);

  // Promoted while studies are on their way: each is scored, by the one or by the other.
  const during = Promise.all([2, 3, 4].map(bundleThatScored));
  const promoted = await bundles(node.data, 'promote', successor.id, '--json');
  expect([promoted.code, promoted.stderr]).toEqual([0, '']);
  expect(JSON.parse(promoted.stdout)).toEqual({
    type: 'bundle',
    action: 'promoted',
    id: successor.id,
    title: successor.title,
    profile: 'untrained',
  });
  for (const bundle of await during) expect([untrained.id, successor.id]).toContain(bundle);
  expect(await bundleThatScored(5)).toBe(successor.id);

  expect((await bundles(node.data, 'rollback', 'untrained')).code).toBe(0);
  const audits = readdirSync(auditFolder(node.data));
  const audited = audits.map((day) => readFileSync(join(auditFolder(node.data), day), 'utf8')).join('');
  for (const { id } of [successor, untrained]) {
    expect(audited).toContain(`"from":null,"what":"bundles: promoted ${id}","outcome":0`);
  }
  expect(await bundleThatScored(6)).toBe(untrained.id);
  const again = await bundles(node.data, 'rollback', 'untrained');
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('no bundle was promoted')]);
  expect(node.log().filter(({ level }) => Number(level) >= 50)).toEqual([]);
});

test('a bundle goes from one data folder to another, and is removed there', async () => {
  const file = join(folder, 'successor.tar');
  expect((await bundles(node.data, 'export', successor.id, file)).code).toBe(0);
  const other = join(folder, 'other');
  expect((await bundles(other, 'list')).code).toBe(0);
  const weights = readdirSync(join(other, 'weights')).toSorted();
  const imported = await bundles(other, 'import', file, '--json');
  expect([imported.stderr, JSON.parse(imported.stdout)]).toEqual([
    '',
    expect.objectContaining({ action: 'imported', id: successor.id }),
  ]);
  // It is there, and the one that was there scores on.
  const list = (await bundles(other, 'list', '--json')).stdout.trim().split('\n');
  expect(list.map((line) => JSON.parse(line) as object)).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ id: successor.id, promoted: false }),
      expect.objectContaining({ id: untrained.id, promoted: true }),
    ]),
  );
  const refused = await bundles(other, 'remove', untrained.id);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('promote another one first')]);
  expect((await bundles(other, 'remove', successor.id)).code).toBe(0);
  expect(existsSync(join(other, 'bundles', successor.id))).toBe(false);
  expect(readdirSync(join(other, 'weights')).toSorted()).toEqual(weights);
  expect((await bundles(other, 'verify', 'untrained')).code).toBe(0);
});

test('a bundle whose reference input scores otherwise is not kept', async () => {
  const { id, ...manifest } = untrained;
  expect(id).toMatch(/^untrained@/);
  const rawScore = manifest.reference.rawScore + 0.1;
  const moved = await addBundle(node.data, { ...manifest, reference: { ...manifest.reference, rawScore } });
  const file = join(folder, 'moved.tar');
  expect((await bundles(node.data, 'export', moved.id, file)).code).toBe(0);
  const other = join(folder, 'third');
  const imported = await bundles(other, 'import', file);
  expect([imported.code, imported.stderr]).toEqual([
    1,
    expect.stringContaining('its reference image scores'),
  ]);
  expect(existsSync(join(other, 'bundles', moved.id))).toBe(false);
  const promoted = await bundles(node.data, 'promote', moved.id);
  expect([promoted.code, promoted.stderr]).toEqual([
    1,
    expect.stringContaining('its reference image scores'),
  ]);
});

test('wrong usage ends with 2', async () => {
  for (const words of [
    ['export', 'untrained'],
    ['sell', 'x'],
  ]) {
    expect((await bundles(join(folder, 'other'), ...words)).code).toBe(2);
  }
});
