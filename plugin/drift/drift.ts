import { openBundle } from '../../inference/bundle/registry.ts';
import type { Queryable } from '../database/database.ts';
import type { Settings } from '../settings.ts';
import { kolmogorovSmirnov } from './kolmogorov-smirnov.ts';

/** Studies that are compared at most, the newest: more would find shifts that matter to nobody, and take longer. */
const mostStudies = 1000;

/** How the scores of late lie to those of the calibration. */
export interface Drift {
  profile: string;
  bundle: string;
  /** Studies scored of late, without those that a reader judged abnormal or spoilt: calibration has none such. */
  studies: number;
  calibrationStudies: number;
  /** Share of the studies that are flagged, as a fraction; calibration promises `alpha`, of normal studies. */
  flagged: number;
  alpha: number;
  /** Median percentile among the calibration's scores: 50 where nothing has changed. */
  medianPercentile: number;
  /** Largest distance between the two distribution functions, and how likely one as large is by chance; null: too few studies. */
  test: { statistic: number; pValue: number } | null;
  alert: boolean;
}

interface Row {
  bundle: string;
  profile: string;
  rawScores: number[];
  percentiles: number[];
  flagged: number;
}

/**
 * Compares, for each bundle that scored of late, the studies' scores with those of its calibration: other scanners,
 * protocols or patients shift them. Bundles without training are left out.
 */
export async function measureDrift(
  on: Queryable,
  dataFolder: string,
  settings: Settings['drift'],
  now: Date = new Date(),
): Promise<Drift[]> {
  const rows = await on.query<Row>(
    `select bundle, profile,
       array_agg((score ->> 'rawScore')::float) as "rawScores",
       array_agg((score ->> 'percentile')::float) as percentiles,
       count(*) filter (where (score ->> 'flagged')::boolean)::integer as flagged
     from (
       select *, row_number() over (partition by bundle order by finished_at desc) as place
       from (
         select distinct on (archive, study_instance_uid) * from scoring
         where state = 'scored' and score is not null and profile is not null and finished_at >= $1
         order by archive, study_instance_uid, finished_at desc
       ) newest
       where coalesce((
         select label from feedback f
         where f.archive = newest.archive and f.study_instance_uid = newest.study_instance_uid
         order by id desc limit 1), 'normal') not in ('abnormal', 'artefact')
     ) ranked
     where place <= ${mostStudies} group by bundle, profile order by profile, bundle`,
    [new Date(now.getTime() - settings.days * 24 * 3600_000)],
  );
  const found: Drift[] = [];
  for (const { bundle, profile, rawScores, percentiles, flagged } of rows) {
    const card = await openBundle(dataFolder, bundle).catch(() => undefined); // removed since
    if (!card?.calibration || card.provenance.origin === 'untrained') continue;
    const { scores, alpha } = card.calibration;
    const test = rawScores.length < settings.minStudies ? null : kolmogorovSmirnov(rawScores, scores);
    found.push({
      profile,
      bundle,
      studies: rawScores.length,
      calibrationStudies: scores.length,
      flagged: flagged / rawScores.length,
      alpha,
      medianPercentile: percentiles.sort((a, b) => a - b)[percentiles.length >> 1],
      test,
      alert: test !== null && test.pValue < settings.pValue && test.statistic >= settings.statistic,
    });
  }
  return found;
}
