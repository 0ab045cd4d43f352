import { setTimeout as sleep } from 'node:timers/promises';
import type { ScoreValues } from '../../dicom/result.ts';
import { fetch, type Agent, type RequestInit } from 'undici';
import { noteArrival } from '../arrival/arrivals.ts';
import { http1Agent } from '../http/http1-agent.ts';
import { ownObjects } from '../jobs/scorings.ts';
import type { Database, Queryable } from '../database/database.ts';
import type { Logger } from '../log.ts';
import type { Settings } from '../settings.ts';
import { NoteRefusedError, type InstanceReference } from './archive.ts';
import { authorization, DicomWebArchive } from './dicomweb-archive.ts';

type OrthancSettings = NonNullable<Settings['orthanc']>;

/** One entry of Orthanc's `/changes`. */
interface Change {
  Seq: number;
  ChangeType: string;
  Date: string;
  ID: string;
}

/** An instance as `/instances/ID` describes it. */
interface OrthancInstance {
  ParentSeries: string;
  MainDicomTags: { SOPInstanceUID: string };
}

/** A study as `/studies?expand` and `/tools/find` describe it. */
interface OrthancStudy {
  ID: string;
  MainDicomTags: { StudyInstanceUID: string };
}

/** Name under which Orthanc appears among the archives. */
export const orthancArchiveName = 'orthanc';

/** User-defined metadata of a study that holds its percentile: such numbers are from 1024 to 65535. */
export const percentileMetadata = 8780;
/** Of flagged studies, where Orthanc has labels (from 1.12). */
const flaggedLabel = 'qfae-flagged';

/** How many changes are asked for at once. */
const pageSize = 500;

/** An Orthanc: DICOMweb for studies and results, its REST API for the feed of changes and for deletion. */
export class OrthancArchive extends DicomWebArchive {
  readonly #settings: OrthancSettings;
  readonly #headers: Record<string, string>;
  readonly #dispatcher: Agent;
  #hinted = new AbortController();

  constructor(settings: OrthancSettings) {
    const headers = authorization(settings);
    const url = settings.url.replace(/\/$/, '');
    const timeoutMs = settings.timeoutSeconds * 1000;
    super({ name: orthancArchiveName, url: `${url}${settings.dicomWebRoot}`, headers, timeoutMs });
    this.#settings = { ...settings, url };
    this.#headers = headers;
    this.#dispatcher = http1Agent(timeoutMs);
  }

  /** Asks Orthanc for its version, to see whether it can be reached. */
  async version(): Promise<string> {
    return (await this.#json<{ Version: string }>('/system')).Version;
  }

  override async close(): Promise<void> {
    await Promise.all([super.close(), this.#dispatcher.destroy()]);
  }

  override async remove(_study: string, objects: InstanceReference[]): Promise<boolean> {
    for (const { sopInstanceUID } of objects) {
      const found = await this.#json<{ Type: string; ID: string }[]>('/tools/lookup', {
        method: 'POST',
        body: sopInstanceUID,
      });
      for (const { ID } of found.filter(({ Type }) => Type === 'Instance')) {
        const path = `/instances/${ID}`;
        const answer = await this.#fetch(path, { method: 'DELETE' });
        await answer.body?.cancel();
        if (answer.status === 403 || answer.status === 405) return false;
        // 404: somebody else was faster
        if (!answer.ok && answer.status !== 404) {
          throw new Error(`${this.name}: DELETE ${path} was answered ${answer.status}`);
        }
      }
    }
    return true;
  }

  /**
   * The studies that have a label (Orthanc 1.12 and later). Older versions ignore what they do not know in a search:
   * what they answer does not name the label.
   *
   * @throws Error if Orthanc has no labels.
   */
  async labelled(label: string): Promise<string[]> {
    const found = await this.#json<(OrthancStudy & { Labels?: string[] })[]>('/tools/find', {
      method: 'POST',
      body: JSON.stringify({ Level: 'Study', Query: {}, Labels: [label], Expand: true }),
    });
    if (found.some(({ Labels }) => Labels?.includes(label) !== true)) {
      throw new Error(`${this.name}: this Orthanc has no labels; they came with version 1.12`);
    }
    return found.map(({ MainDicomTags }) => MainDicomTags.StudyInstanceUID);
  }

  /** The studies of which the metadata of this name has this value. */
  async withMetadata(name: string, value: string): Promise<string[]> {
    const found: string[] = [];
    for (let since = 0; ; since += pageSize) {
      const page = await this.#json<OrthancStudy[]>(`/studies?expand&since=${since}&limit=${pageSize}`);
      for (const { ID, MainDicomTags } of page) {
        const answer = await this.#fetch(`/studies/${ID}/metadata/${encodeURIComponent(name)}`);
        const text = await answer.text();
        // 404: it has none of this name, or was deleted meanwhile
        if (!answer.ok && answer.status !== 404) {
          throw new Error(`${this.name}: metadata ${name} of a study was answered ${answer.status}`);
        }
        if (answer.ok && text === value) found.push(MainDicomTags.StudyInstanceUID);
      }
      if (page.length < pageSize) return found;
    }
  }

  /**
   * The percentile as metadata of the study, and a label on it where it is flagged.
   *
   * @throws NoteRefusedError where Orthanc does not permit it
   */
  async note(studyInstanceUID: string, { percentile, flagged }: ScoreValues): Promise<void> {
    const found = await this.#json<{ Type: string; ID: string }[]>('/tools/lookup', {
      method: 'POST',
      body: studyInstanceUID,
    });
    const system = await this.#json<{ HasLabels?: boolean }>('/system');
    for (const { ID } of found.filter(({ Type }) => Type === 'Study')) {
      const changes = [
        { method: 'PUT', path: `/studies/${ID}/metadata/${percentileMetadata}`, body: percentile.toFixed(2) },
        ...(system.HasLabels
          ? [{ method: flagged ? 'PUT' : 'DELETE', path: `/studies/${ID}/labels/${flaggedLabel}` }]
          : []),
      ];
      for (const { path, ...init } of changes) {
        const answer = await this.#fetch(path, init);
        await answer.body?.cancel();
        if (answer.ok) continue;
        const NoteError = answer.status < 500 ? NoteRefusedError : Error;
        throw new NoteError(`${this.name}: ${init.method} ${path} was answered ${answer.status}`);
      }
    }
  }

  /** Orthanc said that something is new: the feed is read now, not at the next poll. */
  hint(): void {
    this.#hinted.abort();
  }

  /**
   * Reads the feed of changes until `signal`, noting the arrival of each study that instances were added to
   * since `since` (default: the first start). Orthanc forgets "stable" events in a restart, so only what is new
   * counts, and the quiet time is ours. Where the feed starts over (the archive was reset, or another one is in its
   * place), it is read from `since` on again; what has its result there is not scored twice.
   */
  async follow(database: Database, log: Logger, since: Date | undefined, signal: AbortSignal): Promise<void> {
    await database.query('insert into feed (archive, started_at) values ($1, $2) on conflict do nothing', [
      this.name,
      since ?? new Date(),
    ]);
    let failing = false;
    while (!signal.aborted) {
      try {
        while (await this.#readChanges(database, log)) signal.throwIfAborted();
        if (failing) log.info({ archive: this.name }, 'archive is reachable again');
        failing = false;
      } catch (error) {
        if (!failing && !signal.aborted) log.error({ archive: this.name, error }, 'archive cannot be read');
        failing = true;
      }
      const wake = AbortSignal.any([signal, this.#hinted.signal]);
      await sleep(this.#settings.pollSeconds * 1000, undefined, { signal: wake }).catch(() => undefined);
      if (this.#hinted.signal.aborted) this.#hinted = new AbortController();
    }
  }

  /** Reads one page of changes; true if there are more. */
  async #readChanges(database: Database, log: Logger): Promise<boolean> {
    const [feed] = await database.query<{ position: string | null; started_at: Date; mark: string | null }>(
      'select position, started_at, mark from feed where archive = $1',
      [this.name],
    );
    const move = (on: Queryable, position: number, mark: string | null) =>
      on.query('update feed set position = $2, mark = $3 where archive = $1', [this.name, position, mark]);
    if (feed.position === null) {
      await move(database, await this.#positionAt(feed.started_at), null);
      return true;
    }
    const position = Number(feed.position);
    // With the change that was read last: in another database, its number is that of another one.
    const page = await this.#changesAfter(Math.max(0, position - 1), pageSize);
    const last = page.Changes.find(({ Seq }) => Seq === position);
    const another = last !== undefined && feed.mark !== null && feed.mark !== markOf(last);
    // Behind the newest change, Orthanc still tells its number.
    if (page.Last < position || another) {
      await move(database, await this.#positionAt(feed.started_at), null);
      log.warn({ archive: this.name }, 'the feed of changes starts over: the archive was reset or replaced');
      return true;
    }
    const newest = page.Changes.find(({ Seq }) => Seq === page.Last); // none where it was deleted
    const mark = newest ? markOf(newest) : page.Last === position ? feed.mark : null;
    if (page.Last === position && mark === feed.mark) return false;
    const studies = await this.#changedStudies(
      database,
      page.Changes.filter(({ Seq }) => Seq > position),
    );
    await database.transaction(async (transaction) => {
      for (const [study, instances] of studies) {
        const scoring = await noteArrival(transaction, this.name, study, { instances });
        log.info(
          { archive: this.name, studyInstanceUID: study, instances, scoring },
          'study arrived or grew',
        );
      }
      await move(transaction, page.Last, mark);
    });
    return !page.Done;
  }

  /** The position in the feed behind which changes are not older than `since` by our clock, found by halving. */
  async #positionAt(since: Date): Promise<number> {
    const ahead = parseOrthancTime(await this.#text('/tools/now')) - wholeSecond(Date.now());
    const earliest = wholeSecond(since.getTime() + ahead);
    let [low, high] = [0, (await this.#changesAfter(Number.MAX_SAFE_INTEGER, 1)).Last];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const [next] = (await this.#changesAfter(middle, 1)).Changes;
      if (next && parseOrthancTime(next.Date) < earliest) low = Math.max(next.Seq, middle + 1);
      else high = middle;
    }
    return low;
  }

  #changesAfter(position: number, limit: number) {
    return this.#json<{ Changes: Change[]; Last: number; Done: boolean }>(
      `/changes?since=${position}&limit=${limit}`,
    );
  }

  /** How many instances, other than our own results, were added to which study. */
  async #changedStudies(database: Database, changes: Change[]): Promise<Map<string, number>> {
    const instances = new Map<string, string>();
    for (const { ChangeType, ID } of changes) {
      if (ChangeType !== 'NewInstance') continue;
      const instance = await this.#optional<OrthancInstance>(`/instances/${ID}`);
      if (instance) instances.set(instance.MainDicomTags.SOPInstanceUID, instance.ParentSeries);
    }
    const own = await ownObjects(database, [...instances.keys()]);
    const bySeries = Map.groupBy(
      [...instances].filter(([uid]) => !own.has(uid)),
      ([, parent]) => parent,
    );
    const studies = new Map<string, number>();
    for (const [ID, added] of bySeries) {
      const study = await this.#optional<{ MainDicomTags: { StudyInstanceUID: string } }>(
        `/series/${ID}/study`,
      );
      if (!study) continue;
      const uid = study.MainDicomTags.StudyInstanceUID;
      studies.set(uid, (studies.get(uid) ?? 0) + added.length);
    }
    return studies;
  }

  /** The resource, or undefined where Orthanc has deleted it meanwhile. */
  async #optional<T>(path: string): Promise<T | undefined> {
    const answer = await this.#fetch(path);
    if (answer.ok) return (await answer.json()) as T;
    await answer.body?.cancel();
    if (answer.status === 404) return undefined;
    throw new Error(`${this.name}: GET ${path} was answered ${answer.status}`);
  }

  async #text(path: string): Promise<string> {
    const answer = await this.#fetch(path);
    if (!answer.ok) throw new Error(`${this.name}: GET ${path} was answered ${answer.status}`);
    return answer.text();
  }

  async #json<T>(path: string, init: RequestInit = {}): Promise<T> {
    const answer = await this.#fetch(path, init);
    if (!answer.ok) {
      await answer.body?.cancel();
      throw new Error(`${this.name}: ${init.method ?? 'GET'} ${path} was answered ${answer.status}`);
    }
    return (await answer.json()) as T;
  }

  async #fetch(path: string, init: RequestInit = {}) {
    return fetch(`${this.#settings.url}${path}`, {
      ...init,
      headers: this.#headers,
      dispatcher: this.#dispatcher,
    });
  }
}

/** What a change is known by beside its number. */
function markOf({ ChangeType, Date, ID }: Change): string {
  return `${ChangeType} ${ID} ${Date}`;
}

/** Orthanc's times have no fractions. */
function wholeSecond(milliseconds: number): number {
  return Math.floor(milliseconds / 1000) * 1000;
}

/** Orthanc writes `20261121T210943`, in UTC. */
function parseOrthancTime(text: string): number {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)$/.exec(text) ?? [];
  return Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
}
