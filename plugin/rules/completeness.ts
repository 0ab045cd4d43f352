import type { Arrival } from '../arrival/arrivals.ts';
import type { Rule } from './schema.ts';

/**
 * When a study counts as complete: as soon as it has been quiet for long enough and has the instances that its rule
 * expects, at the latest when the wait that its rule allows is over.
 *
 * @param instances in the series that fit the rule
 * @param quietSeconds where the rule names none
 */
export function completeAt(
  { complete }: Pick<Rule, 'complete'>,
  { firstSeenAt, changedAt }: Pick<Arrival, 'firstSeenAt' | 'changedAt'>,
  instances: number,
  quietSeconds: number,
): Date {
  const quietAt = changedAt.getTime() + 1000 * (complete.quietSeconds ?? quietSeconds);
  const latest = firstSeenAt.getTime() + 1000 * (complete.waitSeconds ?? Infinity);
  return new Date(instances >= (complete.instances ?? 0) ? Math.min(quietAt, latest) : latest);
}
