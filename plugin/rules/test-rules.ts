import type { Archive } from '../archive/archive.ts';
import { arrivalOf } from '../arrival/arrivals.ts';
import type { Database } from '../database/database.ts';
import type { Settings } from '../settings.ts';
import { completeAt } from './completeness.ts';
import { decide, type RuleOutcome } from './decide.ts';
import { planOf, type Plan } from './plan.ts';
import type { Rule } from './schema.ts';
import { studyAttributes } from './study-attributes.ts';

/** What would happen to a study, and why. */
export interface Verdict {
  archive: string;
  studyInstanceUID: string;
  /** The rule that decides; null where none applies. */
  rule: string | null;
  /** What would be done; null where the study is not scored. */
  plan: (Omit<Plan, 'rule' | 'series'> & { series: string[] }) | null;
  /** Why it is not scored. */
  reason: string | null;
  /** When it is complete, where something of it has just arrived. */
  completeAt: Date | null;
  outcomes: RuleOutcome[];
}

/** An archive holds nothing of a study. */
export class NoStudyError extends Error {
  override name = 'NoStudyError';
}

/**
 * Tries rules on a study of an archive.
 *
 * @throws NoStudyError where the archive does not hold it; Error where the archive does not answer.
 */
export async function testRules(
  {
    database,
    settings,
  }: { database: Database; settings: Pick<Settings, 'bundle' | 'outputs' | 'data' | 'arrival'> },
  rules: readonly Rule[],
  archive: Archive,
  studyInstanceUID: string,
): Promise<Verdict> {
  const arrival = await arrivalOf(database, archive.name, studyInstanceUID);
  const asked = { studyInstanceUID, sourceAETitle: arrival?.sourceAETitle ?? null };
  const study = await studyAttributes(database, archive, asked);
  if (study.series.length === 0) {
    throw new NoStudyError(`archive ${archive.name} holds nothing of study ${studyInstanceUID}`);
  }
  const decision = decide(rules, study);
  const plan = await planOf(decision, settings, archive.name);
  const instances = study.series
    .filter(({ seriesInstanceUID }) => decision.series.includes(seriesInstanceUID))
    .reduce((sum, { instanceCount }) => sum + instanceCount, 0);
  const complete =
    arrival && decision.rule && completeAt(decision.rule, arrival, instances, settings.arrival.quietSeconds);
  const common = {
    archive: archive.name,
    studyInstanceUID,
    completeAt: complete && Number.isFinite(complete.getTime()) ? complete : null,
    outcomes: decision.outcomes,
  };
  if ('reason' in plan) return { ...common, rule: plan.rule, plan: null, reason: plan.reason };
  const { rule, bundle, outputs, to, priority } = plan;
  return { ...common, rule, plan: { bundle, outputs, to, priority, series: decision.series }, reason: null };
}
