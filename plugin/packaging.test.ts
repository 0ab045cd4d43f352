import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');

/** Docker cannot run everywhere; that every path exists can be seen without it. */
test('every file that the Dockerfile copies or runs is there', () => {
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) =>
    sources.split(' '),
  );
  const run = [...dockerfile.matchAll(/"([^"]+\.ts)"/g)].map(([, path]) => path);
  expect(copied.length).toBeGreaterThanOrEqual(8);
  expect(run).toHaveLength(2);
  for (const path of [...copied, ...run]) expect([path, existsSync(join(root, path))]).toEqual([path, true]);
});

test('every folder that holds sources at run time is copied', () => {
  for (const room of ['plugin', 'dicom', 'inference', 'training', 'fixtures']) {
    expect(dockerfile).toMatch(new RegExp(`^COPY ${room} \\./${room}$`, 'm'));
  }
});
