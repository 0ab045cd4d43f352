import { bundleID, promotedBundle } from '../../inference/bundle/registry.ts';
import type { Settings } from '../settings.ts';
import type { Decision } from './decide.ts';

/** What is done with a study. */
export interface Plan {
  rule: string;
  /** ID of the bundle that scores. */
  bundle: string;
  outputs: Settings['outputs'];
  /** Names of the archives that the results go to. */
  to: string[];
  /** Jobs of higher priority go first. */
  priority: number;
  /** The series that may be scored; every one, if left out. */
  series?: string[];
}

/** What a decision comes to under the settings, or why the study is not scored. */
export async function planOf(
  { rule, series }: Decision,
  settings: Pick<Settings, 'bundle' | 'outputs' | 'data'>,
  archive: string,
): Promise<Plan | { rule: string | null; reason: string }> {
  if (!rule) return { rule: null, reason: 'no rule applies to this study' };
  const { name, profile, priority } = rule;
  if (!rule.score) return { rule: name, reason: `by rule "${name}" such studies are not scored` };
  const bundle =
    profile === undefined
      ? await bundleID(settings.data, settings.bundle)
      : await promotedBundle(settings.data, profile);
  if (bundle === undefined) {
    return {
      rule: name,
      reason: `rule "${name}" names profile ${profile!}, for which no bundle is promoted`,
    };
  }
  return {
    rule: name,
    bundle,
    outputs: { ...settings.outputs, ...withoutUndefined(rule.outputs) },
    to: rule.to ?? [archive],
    priority,
    ...(Object.keys(rule.series).length > 0 && { series }),
  };
}

function withoutUndefined<Values extends object>(values: Values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Values]: Exclude<Values[Key], undefined>;
  };
}
