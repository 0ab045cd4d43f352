import { isTellable, valuesInSeries, valuesInStudy, type SeriesAttributes } from './attribute.ts';
import { holds, type Condition } from './condition.ts';
import type { Rule } from './schema.ts';

/** A study as rules see it. */
export interface StudyAttributes {
  archive: string;
  /** Of the last C-STORE sender. */
  sourceAETitle: string | null;
  /** Without our own results. */
  series: SeriesAttributes[];
}

/** A condition, and whether it holds. */
export interface ConditionOutcome {
  /** `from`, `callingAE` or a DICOM keyword. */
  attribute: string;
  wanted: Condition;
  /** Values of the study; null where they would name the patient. */
  found: (string | number)[] | null;
  holds: boolean;
}

/** Why a rule applies to a study, or does not. */
export interface RuleOutcome {
  rule: string;
  applies: boolean;
  study: ConditionOutcome[];
  series: { seriesInstanceUID: string; fits: boolean; conditions: ConditionOutcome[] }[];
}

/** The rule that decides on a study, with the series that fit it; undefined where none applies. */
export interface Decision {
  rule: Rule | undefined;
  /** Series Instance UIDs. */
  series: string[];
  /** Every rule, in the order of the file. */
  outcomes: RuleOutcome[];
}

/** Finds the first rule that applies to a study, and says of every rule why it does or does not. */
export function decide(rules: readonly Rule[], study: StudyAttributes): Decision {
  const outcomes = rules.map((rule) => outcomeOf(rule, study));
  const index = outcomes.findIndex(({ applies }) => applies);
  return {
    rule: index < 0 ? undefined : rules[index],
    series: index < 0 ? [] : fitting(outcomes[index]),
    outcomes,
  };
}

function fitting({ series }: RuleOutcome): string[] {
  return series.filter(({ fits }) => fits).map(({ seriesInstanceUID }) => seriesInstanceUID);
}

function outcomeOf(rule: Rule, { archive, sourceAETitle, series }: StudyAttributes): RuleOutcome {
  const study = [
    ...(rule.from ? [outcome('from', rule.from, [archive])] : []),
    ...(rule.callingAE
      ? [outcome('callingAE', rule.callingAE, sourceAETitle === null ? [] : [sourceAETitle])]
      : []),
    ...Object.entries(rule.study).map(([keyword, condition]) =>
      outcome(keyword, condition, valuesInStudy(keyword, series)),
    ),
  ];
  const ofSeries = series.map((one) => {
    const conditions = Object.entries(rule.series).map(([keyword, condition]) =>
      outcome(keyword, condition, valuesInSeries(keyword, one)),
    );
    return {
      seriesInstanceUID: one.seriesInstanceUID,
      fits: conditions.every(({ holds }) => holds),
      conditions,
    };
  });
  const needsSeries = Object.keys(rule.series).length > 0;
  return {
    rule: rule.name,
    applies: study.every(({ holds }) => holds) && (!needsSeries || ofSeries.some(({ fits }) => fits)),
    study,
    series: ofSeries,
  };
}

function outcome(attribute: string, wanted: Condition, values: (string | number)[]): ConditionOutcome {
  return {
    attribute,
    wanted,
    found: isTellable(attribute) ? values : null,
    holds: holds(wanted, values),
  };
}
