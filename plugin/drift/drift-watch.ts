import { setTimeout as sleep } from 'node:timers/promises';
import { Gauge, type Registry } from 'prom-client';
import type { Database } from '../database/database.ts';
import { enterEvent } from '../events/event-log.ts';
import type { Logger } from '../log.ts';
import type { Settings } from '../settings.ts';
import { measureDrift } from './drift.ts';

const everyMs = 3600_000;

/**
 * Measures drift every hour until `signal`; an alert, and its end, is a line in the log, an event and a metric.
 */
export async function watchDrift(
  database: Database,
  { data, drift: settings }: Pick<Settings, 'data' | 'drift'>,
  registry: Registry,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const gauge = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['profile', 'bundle'], registers: [registry] });
  const alerts = gauge('qfae_drift_alert', '1 where scores of late do not fit the calibration');
  const statistics = gauge('qfae_drift_statistic', 'Kolmogorov–Smirnov distance to the calibration’s scores');
  const pValues = gauge('qfae_drift_p_value', 'How likely such a distance is by chance');
  let alerted = new Set<string>();
  while (!signal.aborted) {
    try {
      const found = await measureDrift(database, data, settings);
      for (const metric of [alerts, statistics, pValues]) metric.reset();
      for (const { profile, bundle, alert, test } of found) {
        alerts.set({ profile, bundle }, alert ? 1 : 0);
        if (test) statistics.set({ profile, bundle }, test.statistic);
        if (test) pValues.set({ profile, bundle }, test.pValue);
        if (alert === alerted.has(bundle)) continue;
        if (alert) log.warn({ profile, bundle, ...test }, 'scores have drifted from the calibration');
        else log.info({ profile, bundle }, 'scores fit the calibration again');
        await enterEvent(database, 'drift', { profile, bundle, alert });
      }
      alerted = new Set(found.filter(({ alert }) => alert).map(({ bundle }) => bundle));
    } catch (error) {
      log.error({ error }, 'drift cannot be measured');
    }
    await sleep(everyMs, undefined, { signal }).catch(() => undefined);
  }
}
