import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addBundle, promote, rollback } from '../../inference/bundle/registry.ts';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';
import { openEmbeddedDatabase } from '../database/database.ts';
import { createLog } from '../log.ts';
import { watchPromotions } from './promotion-watch.ts';

test('a promotion and a rollback by another process are events; what was promoted before is none', async () => {
  const root = mkdtempSync(join(tmpdir(), 'qfae-promotions-'));
  const database = await openEmbeddedDatabase(join(root, 'database'));
  const stop = new AbortController();
  const { id, ...manifest } = await ensureUntrained(root);
  const next = await addBundle(root, { ...manifest, title: 'Next' });
  const { ended } = await watchPromotions(root, database, createLog('silent'), stop.signal);
  const told = async (count: number) => {
    for (;;) {
      const events = await database.query<{ type: string; data: object }>(
        'select type, data from event order by id',
      );
      if (events.length >= count) return events;
      await sleep(50);
    }
  };
  try {
    await promote(root, next.id);
    await told(1);
    await rollback(root, 'untrained');
    expect(await told(2)).toEqual(
      [next.id, id].map((bundle) => ({ type: 'bundle', data: { profile: 'untrained', bundle } })),
    );
  } finally {
    stop.abort();
    await ended;
    await database.close();
    rmSync(root, { recursive: true });
  }
}, 300_000);
