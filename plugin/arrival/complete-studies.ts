import type { Archive } from '../archive/archive.ts';
import type { Database } from '../database/database.ts';
import type { Logger } from '../log.ts';
import { completeAt } from '../rules/completeness.ts';
import { decide } from '../rules/decide.ts';
import { ruleBook, type RuleBook } from '../rules/rule-book.ts';
import { defaultRules } from '../rules/rules-file.ts';
import { lookAtStudies, studyAttributes } from '../rules/study-attributes.ts';
import { arrivals, type Arrival } from './arrivals.ts';

/** A study that is complete. */
export interface CompleteStudy {
  arrival: Arrival;
  /** Of its job. */
  priority: number;
}

/** What was found out about an arrival; it holds until more arrives or the rules change. */
interface Assessment {
  changedAt: number;
  version: string;
  completeAt: Date;
  priority: number;
}

/** Finds the studies of one archive that are complete, as the rules in force say. */
export class CompleteStudies {
  readonly #database: Database;
  readonly #archive: Archive;
  readonly #quietSeconds: number;
  readonly #log: Logger;
  #assessments = new Map<string, Assessment>();

  /** @param quietSeconds where a rule names none */
  constructor(database: Database, archive: Archive, quietSeconds: number, log: Logger) {
    this.#database = database;
    this.#archive = archive;
    this.#quietSeconds = quietSeconds;
    this.#log = log;
  }

  /** Those that are complete at `now`, the one that waits longest first. */
  async at(now: Date): Promise<CompleteStudy[]> {
    const book = await ruleBook(this.#database);
    const waiting = (await arrivals(this.#database)).filter(({ archive }) => archive === this.#archive.name);
    const assessed = new Map<string, Assessment>();
    const complete: CompleteStudy[] = [];
    let reachable = true;
    for (const arrival of waiting) {
      const known = this.#assessments.get(arrival.studyInstanceUID);
      let assessment: Assessment;
      if (known?.changedAt === arrival.changedAt.getTime() && known.version === book.version)
        assessment = known;
      else {
        // No archive is asked about a study that no rule could find complete yet.
        if (this.#earliest(book, arrival) > now) continue;
        const found: Assessment | undefined = reachable ? await this.#assess(book, arrival) : undefined;
        reachable = found !== undefined;
        // An archive that is away is asked again by the job, for many hours.
        assessment = found ?? this.#assessment(book, arrival, defaultRules[0], 0);
      }
      assessed.set(arrival.studyInstanceUID, assessment);
      if (assessment.completeAt <= now) complete.push({ arrival, priority: assessment.priority });
    }
    this.#assessments = assessed;
    return complete;
  }

  #earliest({ rules }: RuleBook, arrival: Arrival): Date {
    const times = [...rules, ...defaultRules].map((rule) =>
      completeAt(rule, arrival, Infinity, this.#quietSeconds).getTime(),
    );
    return new Date(Math.min(...times));
  }

  /** Undefined where the archive cannot be asked. */
  async #assess(book: RuleBook, arrival: Arrival): Promise<Assessment | undefined> {
    try {
      const study = lookAtStudies(book.rules)
        ? await studyAttributes(this.#database, this.#archive, arrival)
        : { archive: arrival.archive, sourceAETitle: arrival.sourceAETitle, series: [] };
      const { rule = defaultRules[0], series } = decide(book.rules, study);
      const instances = study.series
        .filter(({ seriesInstanceUID }) => series.includes(seriesInstanceUID))
        .reduce((sum, { instanceCount }) => sum + instanceCount, 0);
      return this.#assessment(book, arrival, rule, instances);
    } catch (error) {
      this.#log.warn(
        { archive: arrival.archive, studyInstanceUID: arrival.studyInstanceUID, error },
        'the archive cannot say what this study is; its rule is found when it is scored',
      );
      return undefined;
    }
  }

  #assessment(
    { version }: RuleBook,
    arrival: Arrival,
    rule: RuleBook['rules'][number],
    instances: number,
  ): Assessment {
    return {
      changedAt: arrival.changedAt.getTime(),
      version,
      completeAt: completeAt(rule, arrival, instances, this.#quietSeconds),
      priority: rule.priority,
    };
  }
}
