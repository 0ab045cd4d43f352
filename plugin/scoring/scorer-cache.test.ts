import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { addBundle, openBundle } from '../../inference/bundle/registry.ts';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';
import { ScorerCache } from './scorer-cache.ts';

test('a bundle that scores in another precision than it was calibrated in is told, once, with what to do', async () => {
  const root = mkdtempSync(join(tmpdir(), 'qfae-scorer-cache-'));
  const told: object[] = [];
  const log = pino({}, { write: (line: string) => told.push(JSON.parse(line) as object) });
  const scorers = new ScorerCache(root, { precision: 'float16' }, log);
  try {
    await ensureUntrained(root);
    const { id, calibration, ...manifest } = await openBundle(root, 'untrained');
    await scorers.get(id);
    await scorers.get(id);
    expect(told).toEqual([
      expect.objectContaining({
        bundle: id,
        msg: `bundle ${id} is calibrated in float32 and scores in float16: its percentiles and flags may be wrong. Calibrate it with these settings: qfae calibrate --bundle ${id} --normal FOLDER`,
      }),
    ]);
    const half = { ...manifest, calibration: { ...calibration!, precision: 'float16' as const } };
    await scorers.get((await addBundle(root, half)).id);
    expect(told).toHaveLength(1);
  } finally {
    await scorers.close();
    rmSync(root, { recursive: true });
  }
}, 300_000);
