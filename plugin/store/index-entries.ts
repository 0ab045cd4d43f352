import type { InstanceHeader } from '../../dicom/pool.ts';
import { noteArrival } from '../arrival/arrivals.ts';
import type { Database, Queryable } from '../database/database.ts';
import { indexedText, type Level } from './attributes.ts';

/** An instance that is to stand in the index. */
export interface IndexEntry {
  header: InstanceHeader;
  /** Whether its study may now be due for scoring. */
  arrival: boolean;
  sourceAETitle?: string;
}

interface Waiting {
  entry: IndexEntry;
  resolve: (scoringID: string | undefined) => void;
  reject: (error: unknown) => void;
}

/** Entries that one transaction takes at most. */
const batchSize = 64;

/** Writes to the index. Entries that come while a transaction runs go into the next one together. */
export class IndexEntries {
  readonly #database: Database;
  readonly #archiveName: string;
  #waiting: Waiting[] = [];
  #writing = false;

  /** @param archiveName under which arrivals are noted */
  constructor(database: Database, archiveName: string) {
    this.#database = database;
    this.#archiveName = archiveName;
  }

  /** Resolves once the entry is committed, with the ID of the scoring that its arrival will become. */
  add(entry: IndexEntry): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, resolve, reject });
      if (this.#writing) return;
      this.#writing = true;
      setImmediate(() => void this.#writeWaiting()); // entries that come together are written together
    });
  }

  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) await this.#write(this.#waiting.splice(0, batchSize));
    this.#writing = false;
  }

  async #write(batch: Waiting[]): Promise<void> {
    try {
      const entries = batch.map(({ entry }) => entry);
      const scorings = await this.#database.transaction(async (transaction) => {
        await insert(transaction, entries);
        return noteArrivals(transaction, this.#archiveName, entries);
      });
      for (const { entry, resolve } of batch) {
        resolve(entry.arrival ? scorings.get(entry.header.studyInstanceUID) : undefined);
      }
    } catch (error) {
      if (batch.length === 1) batch[0].reject(error);
      // An entry that the database refuses must not take others with it.
      else for (const one of batch) await this.#write([one]);
    }
  }
}

async function insert(on: Queryable, entries: IndexEntry[]): Promise<void> {
  const headers = entries.map(({ header }) => header);
  const studies = firstOfEach(headers, 'studyInstanceUID');
  await on.query(
    `insert into study (study_instance_uid, attributes)
     select * from unnest($1::text[], $2::jsonb[]) on conflict do nothing`,
    [valuesOf(studies, 'studyInstanceUID'), attributesOf(studies, 'study')],
  );
  const series = firstOfEach(headers, 'seriesInstanceUID');
  await on.query(
    `insert into series (series_instance_uid, study_instance_uid, attributes)
     select * from unnest($1::text[], $2::text[], $3::jsonb[]) on conflict do nothing`,
    [
      valuesOf(series, 'seriesInstanceUID'),
      valuesOf(series, 'studyInstanceUID'),
      attributesOf(series, 'series'),
    ],
  );
  await on.query(
    `insert into instance (sop_instance_uid, series_instance_uid, study_instance_uid, sop_class_uid,
       transfer_syntax_uid, attributes)
     select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
     on conflict do nothing`,
    [
      valuesOf(headers, 'sopInstanceUID'),
      valuesOf(headers, 'seriesInstanceUID'),
      valuesOf(headers, 'studyInstanceUID'),
      valuesOf(headers, 'sopClassUID'),
      valuesOf(headers, 'transferSyntaxUID'),
      attributesOf(headers, 'instance'),
    ],
  );
}

type Key = 'sopInstanceUID' | 'seriesInstanceUID' | 'studyInstanceUID' | 'sopClassUID' | 'transferSyntaxUID';

function valuesOf(headers: InstanceHeader[], key: Key): string[] {
  return headers.map((header) => header[key]);
}

function firstOfEach(headers: InstanceHeader[], key: Key): InstanceHeader[] {
  return [...Map.groupBy(headers, (header) => header[key]).values()].map(([first]) => first);
}

function attributesOf(headers: InstanceHeader[], level: Level): string[] {
  return headers.map(({ dataset }) => indexedText(level, dataset));
}

/** Notes each study of which something came, with who sent the last of it. Returns the scorings to come, by study. */
async function noteArrivals(
  on: Queryable,
  archiveName: string,
  entries: IndexEntry[],
): Promise<Map<string, string>> {
  const scorings = new Map<string, string>();
  const arrived = Map.groupBy(
    entries.filter(({ arrival }) => arrival),
    ({ header }) => header.studyInstanceUID,
  );
  for (const [study, instances] of arrived) {
    const { sourceAETitle } = instances.at(-1)!;
    const detail = {
      instances: instances.length,
      ...(sourceAETitle !== undefined && { sourceAETitle }),
    };
    scorings.set(study, await noteArrival(on, archiveName, study, detail));
  }
  return scorings;
}
