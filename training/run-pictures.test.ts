import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { RunRecord } from './run-log.ts';
import { drawCurves } from './run-pictures.ts';

test('curves of any number of steps are drawn, and a single step that stands out is seen', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'curves-'));
  const rest = { gradientNorm: 1, rate: 1e-4, beta1: 0.9, seconds: 1 };
  const records = Array.from({ length: 200_000 }, (_, step): RunRecord => {
    const loss = step === 100_000 ? 100 : 1 + (step % 2);
    return { type: 'step', step, loss, ...rest };
  });
  await drawCurves(folder, records);
  const { data, info } = await sharp(join(folder, 'curves.png'))
    .greyscale()
    .raw()
    .toBuffer({ resolveWithObject: true });
  await rm(folder, { recursive: true });
  expect(info).toMatchObject({ width: 800, height: 400 });
  // Halfway up, where nothing else reaches.
  const row = data.subarray(200 * 800, 201 * 800);
  const dark = [...row.keys()].filter((x) => row[x] < 200);
  expect(dark.length).toBeGreaterThan(0);
  expect(dark.every((x) => Math.abs(x - 400) < 4)).toBe(true);
});
