import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { maxError } from '../../fixtures/golden.ts';
import { calibrateUntrained } from './calibrate-untrained.ts';
import { ensureUntrained } from './untrained.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'untrained-'));
});
afterAll(() => rm(root, { recursive: true }));

test('the bundle has the same ID everywhere', async () => {
  expect((await ensureUntrained(root)).id).toBe('untrained@064ab5681822');
});

test('what is stored of its calibration is what its phantoms score here', async () => {
  const { calibration, reference } = await ensureUntrained(root);
  const here = await calibrateUntrained(root);
  expect(here.reference).toEqual({ ...reference, rawScore: expect.closeTo(reference.rawScore, 4) as number });
  const { scores, mapThreshold, pixelQuantiles, alpha } = calibration!;
  expect(here.calibration!.alpha).toBe(alpha);
  expect(maxError(here.calibration!.scores, scores)).toBeLessThan(1e-4);
  expect(maxError(here.calibration!.pixelQuantiles, pixelQuantiles)).toBeLessThan(1e-4);
  expect(here.calibration!.mapThreshold).toBeCloseTo(mapThreshold, 4);
}, 600_000);
