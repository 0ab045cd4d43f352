import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomStream } from '../../fixtures/random.ts';
import { fuzz } from './fuzz.ts';
import { mutated, mutations } from './mutation.ts';
import { seedFiles } from './seed-files.ts';

test('damaged files are read or refused, and nothing else happens', async () => {
  const report = await fuzz({ cases: 150, seed: 20260131, timeoutMs: 120_000 });
  expect(report.failures).toEqual([]);
  expect(report.read).toBeGreaterThan(0);
  expect(report.refusals).toMatchObject({
    malformed: expect.any(Number) as number,
    truncated: expect.any(Number) as number,
    codec: expect.any(Number) as number,
  });
}, 300_000);

test('a case depends on its seed alone, and every kind of damage occurs', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qfae-seeds-'));
  const [first] = await seedFiles(folder);
  rmSync(folder, { recursive: true });
  const cases = (seed: number) =>
    Array.from({ length: 200 }, (_, i) => mutated(first.bytes, randomStream(seed, String(i))));
  const digest = (seed: number) =>
    cases(seed).map(({ bytes, names }) => [...names, bytes.toString('base64')]);
  expect(digest(1)).toEqual(digest(1));
  expect(digest(1)).not.toEqual(digest(2));
  expect(new Set(cases(1).flatMap(({ names }) => names))).toEqual(new Set(Object.keys(mutations)));
});
