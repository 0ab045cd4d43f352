import { setTimeout as sleep } from 'node:timers/promises';
import { promotions } from '../../inference/bundle/registry.ts';
import type { Database } from '../database/database.ts';
import type { Logger } from '../log.ts';
import { enterEvent } from './event-log.ts';

/** Files are looked at so often: that misses no promotion, whoever makes it. */
const intervalMs = 1000;

/**
 * Enters an event for every promotion and rollback in a registry until `signal`: of the API, of a retraining, of the
 * command line beside the running node.
 *
 * @returns once it is known what is promoted now, a promise that resolves at the end
 */
export async function watchPromotions(
  root: string,
  database: Database,
  log: Logger,
  signal: AbortSignal,
): Promise<{ ended: Promise<void> }> {
  const promoted = await readPromotions(root);
  const watch = async () => {
    while (!signal.aborted) {
      try {
        for (const [profile, bundle] of await readPromotions(root)) {
          if (promoted.get(profile) === bundle) continue;
          log.info({ profile, bundle }, 'another bundle scores for this profile');
          await enterEvent(database, 'bundle', { profile, bundle });
          promoted.set(profile, bundle);
        }
      } catch (error) {
        log.error({ error }, 'promotions cannot be read');
      }
      await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
    }
  };
  return { ended: watch() };
}

async function readPromotions(root: string): Promise<Map<string, string>> {
  return new Map((await promotions(root)).map(({ profile, id }) => [profile, id]));
}
