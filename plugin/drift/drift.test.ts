import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { normal, randomStream } from '../../fixtures/random.ts';
import { until } from '../../fixtures/until.ts';
import { addBundle } from '../../inference/bundle/registry.ts';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';
import { calibrate, type Calibration } from '../../inference/calibration.ts';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import { settingsSchema } from '../settings.ts';
import { measureDrift } from './drift.ts';
import { watchDrift } from './drift-watch.ts';

const now = new Date('2026-06-15T12:00:00Z');
let folder: string;
let database: Database;
let calibration: Calibration;
let bundle: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-drift-'));
  database = await openEmbeddedDatabase(join(folder, 'database'));
  const { id, ...manifest } = await ensureUntrained(folder);
  const random = randomStream(1, 'calibration');
  const scores = Array.from({ length: 60 }, () => normal(random)).sort((a, b) => a - b);
  calibration = { ...manifest.calibration!, scores };
  const provenance = { ...manifest.provenance, origin: 'trained' as const };
  bundle = (await addBundle(folder, { ...manifest, calibration, provenance })).id;
}, 300_000);

afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

const settings = settingsSchema.parse({}).drift;
let studies = 0;

/** Enters scored studies; returns their UIDs. */
async function score(count: number, shift: number, at: Date): Promise<string[]> {
  const random = randomStream(2, at.toISOString());
  const uids: string[] = [];
  for (let i = 0; i < count; i++) {
    uids.push(`1.${++studies}`);
    await database.query(
      `insert into scoring (archive, study_instance_uid, requested_at, finished_at, state, bundle, profile, score)
       values ('local', $1, $2, $2, 'scored', $3, 'untrained', $4)`,
      [uids.at(-1), at, bundle, JSON.stringify(calibrate(calibration, shift + normal(random)))],
    );
  }
  return uids;
}

test('studies like those of the calibration do not drift; shifted ones do, and are watched', async () => {
  await score(29, 0, now);
  expect(await measureDrift(database, folder, settings, now)).toEqual([
    expect.objectContaining({ bundle, studies: 29, test: null, alert: false }),
  ]);
  await score(50, 0, now);
  const [steady] = await measureDrift(database, folder, settings, now);
  expect(steady).toMatchObject({ studies: 79, calibrationStudies: 60, alert: false });
  expect(steady.test!.pValue).toBeGreaterThan(0.01);
  expect(Math.abs(steady.medianPercentile - 50)).toBeLessThan(15);

  const later = new Date(now.getTime() + 8 * 24 * 3600_000);
  const shifted = await score(60, 1.5, later);
  const [drifted] = await measureDrift(database, folder, settings, later);
  expect(drifted).toMatchObject({ studies: 60, alert: true });
  expect(drifted.test!.pValue).toBeLessThan(0.001);
  expect(drifted.flagged).toBeGreaterThan(drifted.alpha);

  for (const study of shifted) {
    await database.query(
      "insert into feedback (archive, study_instance_uid, label, reader) values ('local', $1, 'abnormal', 'x')",
      [study],
    );
  }
  expect(await measureDrift(database, folder, settings, later)).toEqual([]);
});

test('an alert is a metric and an event', async () => {
  await score(60, 3, new Date());
  const registry = new Registry();
  const stopping = new AbortController();
  const watching = watchDrift(
    database,
    { data: folder, drift: settings },
    registry,
    createLog('silent'),
    stopping.signal,
  );
  try {
    const events = await until('an event', async () => {
      const found = await database.query<{ data: object }>("select data from event where type = 'drift'");
      return found.length > 0 && found;
    });
    expect(events).toEqual([{ data: { profile: 'untrained', bundle, alert: true } }]);
    expect(await registry.metrics()).toContain(`qfae_drift_alert{profile="untrained",bundle="${bundle}"} 1`);
  } finally {
    stopping.abort();
    await watching;
  }
});
