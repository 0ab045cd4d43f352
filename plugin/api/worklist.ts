import type { InstanceReference } from '../archive/archive.ts';
import type { Queryable } from '../database/database.ts';
import type { Feedback } from '../feedback/feedback.ts';
import { scoringColumns, type Scoring, type ScoringState } from '../jobs/scorings.ts';

/** Orders of the worklist; each has its index. */
export const worklistOrders = {
  percentile: `(score ->> 'percentile')::float desc nulls last, (score ->> 'rawScore')::float desc nulls last,
    requested_at desc`,
  priority: `priority desc, (score ->> 'percentile')::float desc nulls last, requested_at desc`,
  newest: 'requested_at desc',
  oldest: 'requested_at',
  studyDate: `subject ->> 'studyDate' desc nulls last, requested_at desc`,
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
  /** With the archive that holds them: the study's own, if they went there. */
  results: (InstanceReference & { archive: string })[];
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
  const where = conditions.length > 0 ? `where ${conditions.join(' and ')}` : '';
  const judged = filter.feedback ? judgements : '';
  // An outer join, though each row has its scoring: without conditions on scorings, none is looked at.
  const [{ total }] = await on.query<{ total: number }>(
    `select count(*)::integer as total
     from shown_scoring left join scoring on scoring.id = shown_scoring.scoring_id ${judged} ${where}`,
    parameters,
  );
  const ordered = `order by ${worklistOrders[order]}, scoring.archive, scoring.study_instance_uid`;
  const rows = await on.query<WorklistRow>(
    `with page as (
       select shown_scoring.scoring_id, newer_id
       from shown_scoring join scoring on scoring.id = shown_scoring.scoring_id ${judged}
       ${where} ${ordered} limit ${limit} offset ${offset})
     select ${scoringColumns}, coalesce((
         select jsonb_agg(jsonb_build_object('archive', archive, 'sopInstanceUID', sop_instance_uid,
           'seriesInstanceUID', series_instance_uid, 'sopClassUID', sop_class_uid) order by position)
         from result_object
         where scoring_id = scoring.id and scoring.state = 'scored' and role = 'result' and archive = (
           select archive from result_object where scoring_id = scoring.id
           order by archive <> scoring.archive, archive limit 1)), '[]') as results,
       (select jsonb_build_object('label', label, 'reader', reader, 'comment', comment, 'givenAt', given_at)
        from feedback
        where feedback.archive = scoring.archive and feedback.study_instance_uid = scoring.study_instance_uid
        order by feedback.id desc limit 1) as feedback,
       (select jsonb_build_object('status', state, 'step', step, 'reason', reason, 'requestedAt', requested_at)
        from scoring newer where id = newer_id) as next
     from page join scoring on scoring.id = page.scoring_id ${ordered}`,
    parameters,
  );
  return { rows, total };
}

/** Joins the last that readers said of each study. */
const judgements = `left join (
    select distinct on (archive, study_instance_uid) archive as judged_archive, study_instance_uid as judged_study, label
    from feedback order by archive, study_instance_uid, id desc) judged
  on judged_archive = shown_scoring.archive and judged_study = shown_scoring.study_instance_uid`;

function conditionsOf(filter: WorklistFilter, parameter: (value: unknown) => string): string[] {
  const conditions: string[] = [];
  const add = (value: unknown, condition: (name: string) => string) => {
    if (value !== undefined) conditions.push(condition(parameter(value)));
  };
  add(filter.archive, (name) => `shown_scoring.archive = ${name}`);
  add(filter.study, (name) => `shown_scoring.study_instance_uid = ${name}`);
  add(
    filter.status,
    (name) => `(state = any(${name}::text[]) or newer_id is not null
      and (select state from scoring newer where id = newer_id) = any(${name}::text[]))`,
  );
  add(filter.flagged, (name) => `(score ->> 'flagged')::boolean = ${name}`);
  add(filter.modality, (name) => `subject ->> 'modality' = any(${name}::text[])`);
  add(filter.profile, (name) => `profile = any(${name}::text[])`);
  add(filter.feedback, (name) => `coalesce(nullif(label, 'withdrawn'), 'none') = any(${name}::text[])`);
  add(filter.requestedFrom, (name) => `requested_at >= ${name}::timestamptz`);
  add(filter.requestedTo, (name) => `requested_at <= ${name}::timestamptz`);
  add(filter.studyDateFrom, (name) => `subject ->> 'studyDate' >= ${name}`);
  add(filter.studyDateTo, (name) => `subject ->> 'studyDate' <= ${name}`);
  return conditions;
}
