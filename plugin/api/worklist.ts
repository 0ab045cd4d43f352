import type { InstanceReference } from '../archive/archive.ts';
import type { Queryable } from '../database/database.ts';
import type { Feedback } from '../feedback/feedback.ts';
import { scoringColumns, type Scoring, type ScoringState } from '../jobs/scorings.ts';

/** Orders of the worklist. */
export const worklistOrders = {
  percentile: `(score ->> 'percentile')::float desc nulls last, (score ->> 'rawScore')::float desc nulls last,
    "requestedAt" desc`,
  priority: `priority desc, (score ->> 'percentile')::float desc nulls last, "requestedAt" desc`,
  newest: `"requestedAt" desc`,
  oldest: `"requestedAt"`,
  studyDate: `subject ->> 'studyDate' desc nulls last, "requestedAt" desc`,
} as const;

/** Which studies the worklist shows; a filter that is left out holds for all. */
export interface WorklistFilter {
  archive?: string | undefined;
  study?: string | undefined;
  /** Of what is shown, or of `next`. */
  status?: ScoringState[] | undefined;
  flagged?: boolean | undefined;
  modality?: string[] | undefined;
  profile?: string[] | undefined;
  feedback?: (Feedback['label'] | 'none')[] | undefined;
  /** When the study became complete. */
  requestedFrom?: string | undefined;
  requestedTo?: string | undefined;
  /** YYYY-MM-DD */
  studyDateFrom?: string | undefined;
  studyDateTo?: string | undefined;
}

/** A study in the worklist. */
export interface WorklistRow extends Scoring {
  results: InstanceReference[];
  feedback: (Omit<Feedback, 'givenAt'> & { givenAt: string }) | null;
  /** The newest scoring of the study, where it is newer than what is shown: it is on its way, or came to nothing. */
  next: { status: ScoringState; step: string | null; reason: string | null; requestedAt: string } | null;
}

/**
 * Each study with what its newest scoring said that has an answer, be it that the study is not scored; else with the
 * newest that failed, else the newest. And the number of all studies that fit the filter.
 */
export async function worklist(
  on: Queryable,
  filter: WorklistFilter,
  order: keyof typeof worklistOrders,
  limit: number,
  offset: number,
): Promise<{ rows: WorklistRow[]; total: number }> {
  const parameters: unknown[] = [];
  const conditions = conditionsOf(filter, (value) => `$${parameters.push(value)}`);
  const shown = `
    with newest as (
      select distinct on (archive, study_instance_uid) ${scoringColumns} from scoring
      ${within(filter, (value) => `$${parameters.push(value)}`)}
      order by archive, study_instance_uid, state in ('scored', 'not-scored') desc,
        state = 'failed' desc, requested_at desc),
    judged as (
      select distinct on (archive, study_instance_uid) archive, study_instance_uid, label,
        jsonb_build_object('label', label, 'reader', reader, 'comment', comment, 'givenAt', given_at) as feedback
      from feedback order by archive, study_instance_uid, id desc),
    shown as (
      select newest.*, feedback, next from newest left join judged
        on judged.archive = newest.archive and study_instance_uid = "studyInstanceUID"
        left join lateral (
          select jsonb_build_object('status', state, 'step', step, 'reason', reason, 'requestedAt', requested_at) as next
          from scoring where archive = newest.archive and study_instance_uid = "studyInstanceUID"
            and requested_at > "requestedAt"
          order by requested_at desc limit 1) newer on true
      ${conditions.length > 0 ? `where ${conditions.join(' and ')}` : ''})`;
  const [{ total }] = await on.query<{ total: number }>(
    `${shown} select count(*)::integer as total from shown`,
    parameters,
  );
  const rows = await on.query<WorklistRow>(
    `${shown}
     select *, coalesce((
         select jsonb_agg(jsonb_build_object('sopInstanceUID', sop_instance_uid,
           'seriesInstanceUID', series_instance_uid, 'sopClassUID', sop_class_uid) order by position)
         from result_object
         where scoring_id = page.id and page.state = 'scored' and role = 'result' and archive = (
           select archive from result_object where scoring_id = page.id
           order by archive <> page.archive, archive limit 1)), '[]') as results
     from (select * from shown order by ${worklistOrders[order]}, archive, "studyInstanceUID"
       limit ${limit} offset ${offset}) page
     order by ${worklistOrders[order]}, archive, "studyInstanceUID"`,
    parameters,
  );
  return { rows, total };
}

/** The filters that hold for every scoring of a study. */
function within({ archive, study }: WorklistFilter, parameter: (value: unknown) => string): string {
  const conditions = [
    ...(archive === undefined ? [] : [`archive = ${parameter(archive)}`]),
    ...(study === undefined ? [] : [`study_instance_uid = ${parameter(study)}`]),
  ];
  return conditions.length > 0 ? `where ${conditions.join(' and ')}` : '';
}

function conditionsOf(filter: WorklistFilter, parameter: (value: unknown) => string): string[] {
  const conditions: string[] = [];
  const add = (value: unknown, condition: (name: string) => string) => {
    if (value !== undefined) conditions.push(condition(parameter(value)));
  };
  add(filter.status, (name) => `(state = any(${name}::text[]) or next ->> 'status' = any(${name}::text[]))`);
  add(filter.flagged, (name) => `(score ->> 'flagged')::boolean = ${name}`);
  add(filter.modality, (name) => `subject ->> 'modality' = any(${name}::text[])`);
  add(filter.profile, (name) => `profile = any(${name}::text[])`);
  add(
    filter.feedback,
    (name) => `coalesce(nullif(feedback ->> 'label', 'withdrawn'), 'none') = any(${name}::text[])`,
  );
  add(filter.requestedFrom, (name) => `"requestedAt" >= ${name}::timestamptz`);
  add(filter.requestedTo, (name) => `"requestedAt" <= ${name}::timestamptz`);
  add(filter.studyDateFrom, (name) => `subject ->> 'studyDate' >= ${name}`);
  add(filter.studyDateTo, (name) => `subject ->> 'studyDate' <= ${name}`);
  return conditions;
}
