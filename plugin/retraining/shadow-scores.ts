import type { ScoreValues } from '../../dicom/result.ts';
import type { Queryable } from '../database/database.ts';

/** What a candidate said of a study in shadow: it wrote nothing into the archive. */
export interface ShadowScore {
  bundle: string;
  score: ScoreValues;
  scoredAt: Date;
}

/** Keeps what a candidate said beside the scoring of the promoted bundle. */
export async function keepShadowScore(
  on: Queryable,
  scoringID: string,
  { bundle, score }: Pick<ShadowScore, 'bundle' | 'score'>,
): Promise<void> {
  await on.query(
    `insert into shadow_score (scoring_id, bundle, score) values ($1, $2, $3)
     on conflict (scoring_id, bundle) do update set score = $3, scored_at = now()`,
    [scoringID, bundle, JSON.stringify(score)],
  );
}

/** What candidates said of a study in any of its scorings, the newest first. */
export async function shadowScoresOf(
  on: Queryable,
  { archive, studyInstanceUID }: { archive: string; studyInstanceUID: string },
): Promise<ShadowScore[]> {
  return on.query<ShadowScore>(
    `select shadow_score.bundle, shadow_score.score, scored_at as "scoredAt"
     from shadow_score join scoring on scoring.id = scoring_id
     where archive = $1 and study_instance_uid = $2 order by scored_at desc`,
    [archive, studyInstanceUID],
  );
}

/** A study that a candidate scored in shadow, and what the promoted bundle said of it. */
export interface ShadowedStudy {
  archive: string;
  studyInstanceUID: string;
  scoredAt: Date;
  candidate: ScoreValues;
  promoted: { bundle: string; score: ScoreValues };
}

/** Studies that a candidate scored in shadow, each by its newest scoring, the newest first. */
export async function shadowedStudies(
  on: Queryable,
  bundle: string,
  limit: number,
): Promise<ShadowedStudy[]> {
  return on.query<ShadowedStudy>(
    `select * from (
       select distinct on (archive, study_instance_uid) archive, study_instance_uid as "studyInstanceUID",
         scored_at as "scoredAt", shadow_score.score as candidate,
         jsonb_build_object('bundle', scoring.bundle, 'score', scoring.score) as promoted
       from shadow_score join scoring on scoring.id = scoring_id
       where shadow_score.bundle = $1 and scoring.score is not null
       order by archive, study_instance_uid, requested_at desc) study
     order by "scoredAt" desc limit $2`,
    [bundle, limit],
  );
}

/** How a candidate compares with the bundles in whose shadow it scored. */
export interface ShadowSummary {
  studies: number;
  /** Studies that it flags. */
  flagged: number;
  /** Studies that the promoted bundle flagged. */
  flaggedByPromoted: number;
  /** Studies on which both say the same. */
  agreed: number;
}

/** Of the studies that a candidate scored in shadow, each by its newest scoring. */
export async function shadowSummary(on: Queryable, bundle: string): Promise<ShadowSummary> {
  const [row] = await on.query<ShadowSummary>(
    `select count(*)::integer as studies,
       (count(*) filter (where candidate))::integer as flagged,
       (count(*) filter (where promoted))::integer as "flaggedByPromoted",
       (count(*) filter (where candidate = promoted))::integer as agreed
     from (select distinct on (archive, study_instance_uid)
             (shadow_score.score->>'flagged')::boolean as candidate,
             (scoring.score->>'flagged')::boolean as promoted
           from shadow_score join scoring on scoring.id = scoring_id
           where shadow_score.bundle = $1
           order by archive, study_instance_uid, requested_at desc) study`,
    [bundle],
  );
  return row;
}
