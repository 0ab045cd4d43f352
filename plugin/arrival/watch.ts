import { setTimeout as sleep } from 'node:timers/promises';
import type { StudyReference } from '../archive/archive.ts';
import type { DicomWebArchive } from '../archive/dicomweb-archive.ts';
import type { Database } from '../database/database.ts';
import { ownObjects } from '../jobs/scorings.ts';
import type { Logger } from '../log.ts';
import { noteArrival } from './arrivals.ts';

/** How an archive is watched. */
export interface WatchOptions {
  pollSeconds: number;
  /** Studies whose date is more days ago are not looked at. */
  watchDays: number;
  /** Studies that are in the archive when it is first watched are due only if they are not older. */
  since: Date | undefined;
}

const pageSize = 200;
const dayMs = 24 * 3600 * 1000;

/**
 * Asks an archive for its recent studies again and again until `signal`, and notes the arrival of each that is new or
 * has more instances. QIDO-RS cannot ask what arrived since a time, so it is asked day by day of the study's date, a
 * page at a time: a study without a date, or that arrives more than `watchDays` after its date, is not seen, and
 * none is seen to grow by an archive that does not tell NumberOfStudyRelatedInstances. What the
 * archive holds at the first look is left alone, unless it is younger than `since` (default: the first start).
 */
export async function watchArchive(
  archive: DicomWebArchive,
  database: Database,
  log: Logger,
  options: WatchOptions,
  signal: AbortSignal,
): Promise<void> {
  await database.query('insert into feed (archive, started_at) values ($1, $2) on conflict do nothing', [
    archive.name,
    options.since ?? new Date(),
  ]);
  let failing = false;
  const failed = new Set<string>();
  while (!signal.aborted) {
    try {
      await lookAt(archive, database, log, options.watchDays, failed, signal);
      if (failing) log.info({ archive: archive.name }, 'archive is reachable again');
      failing = false;
    } catch (error) {
      if (!failing && !signal.aborted) log.error({ archive: archive.name, error }, 'archive cannot be read');
      failing = true;
    }
    await sleep(options.pollSeconds * 1000, undefined, { signal }).catch(() => undefined);
  }
}

/**
 * Looks at every study of the watched days once. One that cannot be asked for is left for the next look.
 *
 * @param failed those of the last look, so that each is logged once
 */
async function lookAt(
  archive: DicomWebArchive,
  database: Database,
  log: Logger,
  watchDays: number,
  failed: Set<string>,
  signal: AbortSignal,
): Promise<void> {
  const [feed] = await database.query<{ position: string | null; started_at: Date }>(
    'select position, started_at from feed where archive = $1',
    [archive.name],
  );
  const first = feed.position === null;
  const now = Date.now();
  const watched = now - watchDays * dayMs;
  const since = feed.started_at.getTime();
  // One day more at both ends: dates are the archive's local ones.
  for (let day = (first ? Math.min(watched, since) : watched) - dayMs; day <= now + dayMs; day += dayMs) {
    for await (const study of studiesOf(archive, dicomDate(day), signal)) {
      const { studyInstanceUID } = study;
      try {
        await compare(archive, database, log, study, (found) => !first || studyTimeOf(found) >= since);
        failed.delete(studyInstanceUID);
      } catch (error) {
        if (signal.aborted) throw error;
        if (!failed.has(studyInstanceUID)) {
          log.error({ archive: archive.name, studyInstanceUID, error }, 'study cannot be asked for');
        }
        failed.add(studyInstanceUID);
      }
    }
  }
  await database.transaction(async (transaction) => {
    await transaction.query('delete from watched_study where archive = $1 and study_date < $2', [
      archive.name,
      dicomDate(watched - dayMs),
    ]);
    await transaction.query('update feed set position = 0 where archive = $1', [archive.name]);
  });
}

/** The studies of one day, page by page, until nothing new comes: a server may give fewer at once than asked for. */
async function* studiesOf(
  archive: DicomWebArchive,
  day: string,
  signal: AbortSignal,
): AsyncGenerator<StudyReference> {
  const seen = new Set<string>();
  for (;;) {
    signal.throwIfAborted();
    const page = await archive.studies({ StudyDate: day }, { limit: pageSize, offset: seen.size });
    const fresh = page.filter(({ studyInstanceUID }) => !seen.has(studyInstanceUID));
    for (const study of fresh) {
      seen.add(study.studyInstanceUID);
      // A server that ignores what it does not know might answer with all its studies.
      if (study.studyDate === day) yield study;
    }
    if (fresh.length === 0) return;
  }
}

/** Notes the arrival of a study of which the archive holds more than it did, our own results left out. */
async function compare(
  archive: DicomWebArchive,
  database: Database,
  log: Logger,
  study: StudyReference,
  isDue: (study: StudyReference) => boolean,
): Promise<void> {
  const { studyInstanceUID, studyDate, instances = null } = study;
  const key = [archive.name, studyInstanceUID];
  const [before] = await database.query<{ instances: number | null; sources: number | null }>(
    'select instances, sources from watched_study where archive = $1 and study_instance_uid = $2',
    key,
  );
  if (before?.instances === instances && before !== undefined) return;
  const due = before !== undefined || isDue(study);
  let sources = instances;
  if (due) {
    const uids = (await archive.instances(studyInstanceUID)).map(({ sopInstanceUID }) => sopInstanceUID);
    sources = uids.length - (await ownObjects(database, uids)).size;
  }
  const added = (sources ?? 0) - (before?.sources ?? 0);
  await database.transaction(async (transaction) => {
    await transaction.query(
      `insert into watched_study (archive, study_instance_uid, study_date, instances, sources)
       values ($1, $2, $3, $4, $5)
       on conflict (archive, study_instance_uid) do update set instances = $4, sources = $5`,
      [...key, studyDate, instances, sources],
    );
    if (!due || added <= 0) return;
    const scoring = await noteArrival(transaction, archive.name, studyInstanceUID, { instances: added });
    log.info({ archive: archive.name, studyInstanceUID, instances: added, scoring }, 'study arrived or grew');
  });
}

/** `YYYYMMDD` of a time, in UTC. */
function dicomDate(time: number): string {
  return new Date(time).toISOString().slice(0, 10).replaceAll('-', '');
}

/** When a study began, by its own date and time; in this machine's time zone where it names none. */
function studyTimeOf({ studyDate, studyTime, timezoneOffset }: StudyReference): number {
  const [, year, month, day] = /^(\d{4})(\d\d)(\d\d)$/.exec(studyDate) ?? [];
  const [, hour = '00', minute = '00', second = '00'] = /^(\d\d)(\d\d)?(\d\d)?/.exec(studyTime) ?? [];
  const zone = /^[+-]\d{4}$/.test(timezoneOffset)
    ? `${timezoneOffset.slice(0, 3)}:${timezoneOffset.slice(3)}`
    : '';
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}${zone}`);
}
