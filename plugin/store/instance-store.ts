import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { InstanceHeader } from '../../dicom/pool.ts';
import { isUID } from '../../dicom/uid.ts';
import type { Database, Queryable } from '../database/database.ts';
import { IndexEntries, type IndexEntry } from './index-entries.ts';
import type { StoreRoom } from './room.ts';

/** An instance in the store. */
export interface StoredInstance {
  sopInstanceUID: string;
  seriesInstanceUID: string;
  studyInstanceUID: string;
  sopClassUID: string;
  transferSyntaxUID: string;
}

/** Name under which the node's own store appears among the archives. */
export const localArchiveName = 'local';

/** What came of an instance: `another is there` under its UID, with other content. */
export type Added = 'stored' | 'already there' | 'another is there';

/** What became of an instance, and the scoring that its arrival will become. */
interface Addition {
  added: Added;
  scoring?: string;
}

/** Read at once of each of two files that are compared. */
const comparedBytes = 2 ** 20;

/** A whole file that is to be stored. */
export interface ArrivedFile extends IndexEntry {
  file: string;
}

/** DICOM objects as files, with an index in the database. The first copy of a SOPInstanceUID stays. */
export class InstanceStore {
  readonly #database: Database;
  readonly #folder: string;
  readonly #entries: IndexEntries;
  readonly #room: Pick<StoreRoom, 'take'> | undefined;
  /** What is being done with the file of a SOPInstanceUID: the next waits for it. */
  readonly #underWay = new Map<string, Promise<unknown>>();

  /** @param room is told of each file that is stored or removed */
  constructor(database: Database, folder: string, room?: Pick<StoreRoom, 'take'>) {
    this.#database = database;
    this.#folder = folder;
    this.#room = room;
    this.#entries = new IndexEntries(database, localArchiveName);
  }

  /** Takes over a whole file; see `addAll`. */
  add(file: string, header: InstanceHeader, options: Omit<IndexEntry, 'header'>): Promise<Addition> {
    return this.addAll([{ file, header, ...options }])[0];
  }

  /**
   * Takes over whole files: moves each into place, then enters them into the index together. What a promise
   * resolves to outlives the process, however that ends. Of an instance that is stored already, the first copy
   * stays: the new one is compared with it, and removed. A file that fails does not stop the others.
   */
  addAll(arrived: ArrivedFile[]): Promise<Addition>[] {
    const stored = this.#storedAmong(arrived);
    stored.catch(() => undefined); // told to each that waits for it
    const together: Promise<unknown>[] = [];
    return arrived.map((one) => {
      const { sopInstanceUID } = one.header;
      // Of two copies that come at once, one is first.
      const earlier = this.#underWay.get(sopInstanceUID);
      const placing = earlier
        ? earlier.catch(() => undefined).then(() => this.#place(one, this.#storedAmong([one])))
        : this.#place(one, stored);
      if (!earlier) together.push(placing);
      const adding = placing.then(async (added) => {
        if (added !== 'stored') return { added };
        await Promise.allSettled(together);
        const scoring = await this.#entries.add(one);
        return { added, ...(scoring !== undefined && { scoring }) };
      });
      this.#occupy([sopInstanceUID], adding);
      return adding;
    });
  }

  /**
   * Does `work` while nothing is added or removed under these UIDs: after what is under way, before what comes. It
   * must not add or remove by itself.
   */
  async alone<Result>(sopInstanceUIDs: string[], work: () => Promise<Result>): Promise<Result> {
    const earlier = sopInstanceUIDs.flatMap((uid) => this.#underWay.get(uid) ?? []);
    const working = Promise.allSettled(earlier).then(work);
    this.#occupy(sopInstanceUIDs, working);
    return working;
  }

  #occupy(sopInstanceUIDs: string[], work: Promise<unknown>): void {
    for (const uid of sopInstanceUIDs) this.#underWay.set(uid, work);
    const end = () => {
      for (const uid of sopInstanceUIDs) if (this.#underWay.get(uid) === work) this.#underWay.delete(uid);
    };
    work.then(end, end);
  }

  async #place({ file, header }: ArrivedFile, known: Promise<Map<string, StoredInstance>>): Promise<Added> {
    const stored = (await known).get(header.sopInstanceUID);
    if (stored) {
      const same =
        stored.transferSyntaxUID === header.transferSyntaxUID &&
        (await haveSameDataSet(file, this.path(stored)));
      await rm(file, { force: true });
      return same ? 'already there' : 'another is there';
    }
    const path = this.path(header);
    const bytes = await flushToDisk(file);
    await rename(file, path).catch(async () => {
      await mkdir(dirname(path), { recursive: true });
      await rename(file, path);
    });
    this.#room?.take(bytes);
    return 'stored';
  }

  async #storedAmong(arrived: ArrivedFile[]): Promise<Map<string, StoredInstance>> {
    const rows = await entriesOf(
      this.#database,
      arrived.map(({ header }) => header.sopInstanceUID),
    );
    return new Map(rows.map((row) => [row.sopInstanceUID, row]));
  }

  /** Instances of a study, of one of its series, or one of them. */
  async find(studyInstanceUID: string, seriesInstanceUID?: string, sopInstanceUID?: string) {
    return this.#database.query<StoredInstance>(
      `select sop_instance_uid as "sopInstanceUID", series_instance_uid as "seriesInstanceUID",
         study_instance_uid as "studyInstanceUID", sop_class_uid as "sopClassUID",
         transfer_syntax_uid as "transferSyntaxUID"
       from instance
       where study_instance_uid = $1 and ($2::text is null or series_instance_uid = $2)
         and ($3::text is null or sop_instance_uid = $3)
       order by series_instance_uid, case when attributes #>> '{00200013,Value,0}' ~ '^-?[0-9]{1,12}$'
         then (attributes #>> '{00200013,Value,0}')::bigint end nulls last, sop_instance_uid`,
      [studyInstanceUID, seriesInstanceUID ?? null, sopInstanceUID ?? null],
    );
  }

  /** Removes instances from index and disk; a series or study without any left goes with them. */
  async remove(sopInstanceUIDs: string[]): Promise<void> {
    await this.alone(sopInstanceUIDs, async () => {
      const removed = await this.#removeEntries(sopInstanceUIDs);
      for (const instance of removed) await this.removeFile(instance);
    });
  }

  /** Removes the file of an instance that is no longer in the index; only while `alone` with it. */
  async removeFile(instance: Parameters<InstanceStore['path']>[0]): Promise<void> {
    const path = this.path(instance);
    const found = await stat(path).catch(() => undefined);
    if (!found) return;
    await rm(path, { force: true });
    this.#room?.take(-found.size);
  }

  #removeEntries(sopInstanceUIDs: string[]): Promise<StoredInstance[]> {
    return this.#database.transaction(async (transaction) => {
      const rows = await entriesOf(transaction, sopInstanceUIDs);
      await transaction.query('delete from instance where sop_instance_uid = any($1)', [sopInstanceUIDs]);
      for (const series of new Set(rows.map((row) => row.seriesInstanceUID))) {
        await transaction.query(
          `delete from series where series_instance_uid = $1
             and not exists (select 1 from instance where series_instance_uid = $1)`,
          [series],
        );
      }
      for (const study of new Set(rows.map((row) => row.studyInstanceUID))) {
        await transaction.query(
          `delete from study where study_instance_uid = $1
             and not exists (select 1 from series where study_instance_uid = $1)`,
          [study],
        );
      }
      return rows;
    });
  }

  /** Where an instance's file lies. The UIDs are checked, so that no path leads outside. */
  path(instance: Pick<StoredInstance, 'studyInstanceUID' | 'seriesInstanceUID' | 'sopInstanceUID'>): string {
    const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = instance;
    for (const uid of [studyInstanceUID, seriesInstanceUID, sopInstanceUID]) {
      if (!isUID(uid)) throw new Error('not a UID, so no file can be named after it');
    }
    return join(this.#folder, studyInstanceUID, seriesInstanceUID, `${sopInstanceUID}.dcm`);
  }

  /** The instance, if it is stored. */
  async get(sopInstanceUID: string): Promise<StoredInstance | undefined> {
    return (await entriesOf(this.#database, [sopInstanceUID]))[0];
  }
}

function entriesOf(on: Queryable, sopInstanceUIDs: string[]): Promise<StoredInstance[]> {
  return on.query<StoredInstance>(
    `select sop_instance_uid as "sopInstanceUID", series_instance_uid as "seriesInstanceUID",
       study_instance_uid as "studyInstanceUID", sop_class_uid as "sopClassUID",
       transfer_syntax_uid as "transferSyntaxUID"
     from instance where sop_instance_uid = any($1)`,
    [sopInstanceUIDs],
  );
}

/** Returns the bytes of the file. */
async function flushToDisk(file: string): Promise<number> {
  await using handle = await open(file, 'r+');
  await handle.datasync();
  return (await handle.stat()).size;
}

/** File meta information differs by the way on which a file has come (PS3.10 section 7.1). */
async function haveSameDataSet(...files: [string, string]): Promise<boolean> {
  const [start, otherStart] = await Promise.all(files.map(dataSetStart));
  const [size, otherSize] = await Promise.all(files.map(async (file) => (await stat(file)).size));
  if (size - start !== otherSize - otherStart) return false;
  const [chunks, others] = files.map((file, i) =>
    createReadStream(file, { highWaterMark: comparedBytes, start: [start, otherStart][i] }),
  ) as AsyncIterable<Buffer>[];
  const other = others[Symbol.asyncIterator]();
  try {
    for await (const chunk of chunks) {
      const { value } = (await other.next()) as { value: Buffer | undefined };
      if (!value?.equals(chunk)) return false;
    }
  } finally {
    await other.return?.();
  }
  return true;
}

/** Where the data set begins, by the group length of the file meta information; 0 where it has none. */
async function dataSetStart(file: string): Promise<number> {
  await using handle = await open(file);
  const { buffer } = await handle.read(Buffer.alloc(144), 0, 144, 0);
  const hasLength = buffer.toString('latin1', 128, 140) === 'DICM\x02\0\0\0UL\x04\0';
  return hasLength ? buffer.length + buffer.readUInt32LE(140) : 0;
}
