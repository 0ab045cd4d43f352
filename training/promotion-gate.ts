import { aurocDifference, bootstrapIntervals } from './metrics/bootstrap.ts';
import type { AurocDifference, Interval } from './metrics/bootstrap.ts';
import { fewestTrials, lowerBound, upperBound } from './metrics/binomial-bound.ts';
import { rank, rankingMetrics } from './metrics/ranking.ts';

/** What a bundle said of the cases on which a candidate and the promoted bundle are compared. */
export interface BundleScores {
  /** Of the held-out normal studies, one of each patient. */
  readonly normal: readonly number[];
  /** Of the abnormal cases. */
  readonly abnormal: readonly number[];
  /** The raw score above which a study is flagged. */
  readonly threshold: number;
}

/** What the gate judges. Cases have the same order in all scores. */
export interface Trial {
  /** Patients of the normal studies, each another. */
  readonly normalPatients: readonly string[];
  /** Patients of the abnormal cases: of a synthetic anomaly the one whose study it was put into. */
  readonly abnormalPatients: readonly string[];
  /** False-positive rate of the candidate's threshold. */
  readonly alpha: number;
  readonly candidate: BundleScores;
  /** The promoted bundle, if one scores. */
  readonly promoted?: BundleScores & {
    /** Held-out studies that are in its training manifest; undefined where that cannot be told. */
    readonly sharedStudies: number | undefined;
    /** Whether its threshold says something of these studies: not that of an untrained bundle. */
    readonly informed: boolean;
  };
  /** Why the candidate cannot be judged by its scores, if it cannot: it is not what its `bundle.json` says. */
  readonly damage?: string;
}

/** How much worse a candidate may be. */
export interface GateMargins {
  /** Beyond alpha, of the upper 95 % bound of the false-positive rate. */
  readonly falsePositives: number;
  /** Of the AUROC. */
  readonly auroc: number;
}

export const gateMargins: GateMargins = { falsePositives: 0.05, auroc: 0.02 };

/** A condition of the gate, with the numbers that decided. */
export interface GateCondition {
  readonly name: 'intact' | 'false-positives' | 'auroc' | 'unseen' | 'normals';
  readonly passed: boolean;
  /** What was found, as a sentence. */
  readonly finding: string;
  readonly numbers: Readonly<Record<string, number>>;
}

/** Image-level metrics of a bundle on the cases of a trial. */
export interface TrialMetrics {
  readonly auroc: number;
  readonly aurocInterval: Interval;
  readonly averagePrecision: number;
  readonly averagePrecisionInterval: Interval;
  readonly falsePositiveRate: number;
  readonly falsePositiveUpperBound: number;
  /** Abnormal cases above the threshold. */
  readonly sensitivity: number;
}

export interface Verdict {
  /** Whether the candidate may be promoted without anyone watching. */
  readonly passed: boolean;
  readonly conditions: readonly GateCondition[];
}

/** The metrics of one of the bundles of a trial. */
export function trialMetrics(trial: Trial, scores: BundleScores): TrialMetrics {
  const cases = casesOf(trial);
  const all = [...scores.normal, ...scores.abnormal];
  const { auroc, averagePrecision } = rankingMetrics(rank(all, cases.labels));
  const intervals = bootstrapIntervals({ scores: all, ...cases });
  const flagged = above(scores.normal, scores.threshold);
  return {
    ...{ auroc, aurocInterval: intervals.auroc },
    ...{ averagePrecision, averagePrecisionInterval: intervals.averagePrecision },
    falsePositiveRate: flagged / scores.normal.length,
    falsePositiveUpperBound: upperBound(flagged, scores.normal.length),
    sensitivity: above(scores.abnormal, scores.threshold) / scores.abnormal.length,
  };
}

/**
 * Judges a candidate. It passes if
 * - it is what it says (`intact`);
 * - the upper 95 % bound of its false-positive rate is no more than alpha and the margin (`false-positives`);
 * - its AUROC is, by a paired bootstrap, with 95 % confidence not worse than the promoted bundle's by more than the
 *   margin, or better than chance where none is promoted (`auroc`);
 * - no held-out study was in the promoted bundle's training manifest, which would flatter that one (`unseen`); where
 *   this cannot be told it passes, since what flatters the promoted bundle only makes the comparison harder;
 * - the promoted bundle does not flag clearly too many of the held-out normals (`normals`): then abnormal studies
 *   are among them, or they come from elsewhere, and every number above would be of no worth. On a first retraining no
 *   bundle can tell: it passes, and says so.
 */
export function judge(trial: Trial, margins: GateMargins = gateMargins): Verdict {
  if (trial.damage !== undefined) return { passed: false, conditions: [intact(trial)] };
  const conditions = [intact(trial), falsePositives(trial, margins), auroc(trial, margins)];
  if (trial.promoted) conditions.push(unseen(trial.promoted.sharedStudies));
  conditions.push(normals(trial, margins));
  return { passed: conditions.every(({ passed }) => passed), conditions };
}

/** Held-out normal patients without whom `false-positives` cannot pass, even if none is flagged. */
export function neededPatients(alpha: number, margins: GateMargins = gateMargins): number {
  return fewestTrials(Math.min(alpha + margins.falsePositives, 0.99));
}

function intact({ damage }: Trial): GateCondition {
  return {
    name: 'intact',
    passed: damage === undefined,
    finding: damage ?? 'files and reference score are as recorded',
    numbers: {},
  };
}

function falsePositives({ candidate, alpha }: Trial, margins: GateMargins): GateCondition {
  const { normal, threshold } = candidate;
  const flagged = above(normal, threshold);
  const bound = upperBound(flagged, normal.length);
  const limit = alpha + margins.falsePositives;
  return {
    name: 'false-positives',
    passed: bound <= limit,
    finding: `${flagged} of ${normal.length} held-out normals are flagged: with 95 % confidence ${percent(bound)} at most; allowed are ${percent(limit)}`,
    numbers: { flagged, normals: normal.length, upperBound: bound, limit },
  };
}

function auroc(trial: Trial, margins: GateMargins): GateCondition {
  const { candidate, promoted } = trial;
  const cases = casesOf(trial);
  const scores = [...candidate.normal, ...candidate.abnormal];
  if (!promoted) {
    // Against a model that says the same of all.
    const chance = difference(cases, scores, new Array<number>(scores.length).fill(0));
    return {
      name: 'auroc',
      passed: chance.lowerBound > 0,
      finding: `AUROC is ${(0.5 + chance.difference).toFixed(3)}, with 95 % confidence ${(0.5 + chance.lowerBound).toFixed(3)} at least; chance is 0.5, and no bundle is promoted yet`,
      numbers: { difference: chance.difference, lowerBound: chance.lowerBound, limit: 0 },
    };
  }
  const found = difference(cases, scores, [...promoted.normal, ...promoted.abnormal]);
  return {
    name: 'auroc',
    passed: found.lowerBound >= -margins.auroc,
    finding: `AUROC differs by ${signed(found.difference)} from the promoted bundle’s, with 95 % confidence by ${signed(found.lowerBound)} at least; allowed is ${signed(-margins.auroc)}`,
    numbers: { difference: found.difference, lowerBound: found.lowerBound, limit: -margins.auroc },
  };
}

function unseen(sharedStudies: number | undefined): GateCondition {
  if (sharedStudies === undefined) {
    return {
      name: 'unseen',
      passed: true,
      finding:
        'the promoted bundle was made in another data folder: whether it has seen held-out studies cannot be told',
      numbers: {},
    };
  }
  return {
    name: 'unseen',
    passed: sharedStudies === 0,
    finding: `${sharedStudies} held-out studies are in the promoted bundle’s training manifest`,
    numbers: { sharedStudies },
  };
}

function normals({ promoted, alpha }: Trial, margins: GateMargins): GateCondition {
  if (!promoted?.informed) {
    const why = promoted ? 'the promoted bundle is untrained' : 'no bundle is promoted';
    return {
      name: 'normals',
      passed: true,
      finding: `not judged, since ${why}: nothing has checked whether the studies that are called normal are so`,
      numbers: {},
    };
  }
  const { normal, threshold } = promoted;
  const flagged = above(normal, threshold);
  const bound = lowerBound(flagged, normal.length);
  const limit = alpha + margins.falsePositives;
  return {
    name: 'normals',
    passed: bound <= limit,
    finding: `the promoted bundle flags ${flagged} of ${normal.length} held-out normals: with 95 % confidence ${percent(bound)} at least; more than ${percent(limit)} means that they are not all normal, or not of the kind that it knows`,
    numbers: { flagged, normals: normal.length, lowerBound: bound, limit },
  };
}

function casesOf({ normalPatients, abnormalPatients }: Trial) {
  return {
    labels: [...normalPatients.map(() => 0), ...abnormalPatients.map(() => 1)],
    patients: [...normalPatients, ...abnormalPatients],
  };
}

function difference(
  cases: ReturnType<typeof casesOf>,
  candidate: readonly number[],
  reference: readonly number[],
): AurocDifference {
  return aurocDifference({ ...cases, candidate, reference });
}

function above(scores: readonly number[], threshold: number): number {
  return scores.filter((score) => score > threshold).length;
}

const percent = (rate: number) => `${(100 * rate).toFixed(1)} %`;
const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
