import { CronExpressionParser } from 'cron-parser';

/** When a schedule fires. */
export interface Cron {
  /** Five fields, or six with seconds before them. */
  readonly cron: string;
  /** IANA name of the time zone that the fields are of. */
  readonly timezone: string;
}

/** The first firing after a moment. Throws, with the reason, if the expression or the time zone is wrong. */
export function nextFiring({ cron, timezone }: Cron, after: Date): Date {
  return CronExpressionParser.parse(cron, { currentDate: after, tz: timezone }).next().toDate();
}
