import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { InstanceHeader } from '../../dicom/pool.ts';
import { isUID } from '../../dicom/uid.ts';
import type { Database, Queryable } from '../database/database.ts';
import { noteArrival } from '../arrival/arrivals.ts';
import { attributesOf } from './attributes.ts';

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

/** DICOM objects as files, with an index in the database. The first copy of a SOPInstanceUID stays. */
export class InstanceStore {
  readonly #database: Database;
  readonly #folder: string;

  constructor(database: Database, folder: string) {
    this.#database = database;
    this.#folder = folder;
  }

  /**
   * Takes over a whole file: moves it into place, then enters it into the index. What it returns outlives the
   * process, however that ends.
   *
   * @param options.arrival whether the study may now be due for scoring (not for our own results).
   * @param options.sourceAETitle who sent it by C-STORE.
   */
  async add(
    file: string,
    header: InstanceHeader,
    options: { arrival: boolean; sourceAETitle?: string },
  ): Promise<'stored' | 'already there'> {
    const stored = await this.#entry(this.#database, header.sopInstanceUID);
    if (stored) {
      await rm(file, { force: true });
      return 'already there';
    }
    const path = this.path(header);
    await mkdir(dirname(path), { recursive: true });
    await flushToDisk(file);
    await rename(file, path);
    await this.#database.transaction(async (transaction) => {
      const { studyInstanceUID, seriesInstanceUID, sopInstanceUID, dataset } = header;
      await transaction.query(
        'insert into study (study_instance_uid, attributes) values ($1, $2) on conflict do nothing',
        [studyInstanceUID, attributesOf('study', dataset)],
      );
      await transaction.query(
        `insert into series (series_instance_uid, study_instance_uid, attributes) values ($1, $2, $3)
         on conflict do nothing`,
        [seriesInstanceUID, studyInstanceUID, attributesOf('series', dataset)],
      );
      await transaction.query(
        `insert into instance (sop_instance_uid, series_instance_uid, study_instance_uid, sop_class_uid,
           transfer_syntax_uid, attributes) values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
        [
          sopInstanceUID,
          seriesInstanceUID,
          studyInstanceUID,
          header.sopClassUID,
          header.transferSyntaxUID,
          attributesOf('instance', dataset),
        ],
      );
      const { arrival, sourceAETitle } = options;
      if (arrival) {
        await noteArrival(transaction, localArchiveName, studyInstanceUID, {
          ...(sourceAETitle !== undefined && { sourceAETitle }),
        });
      }
    });
    return 'stored';
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
    const removed = await this.#database.transaction(async (transaction) => {
      const rows: StoredInstance[] = [];
      for (const uid of sopInstanceUIDs) {
        const entry = await this.#entry(transaction, uid);
        if (entry) rows.push(entry);
        await transaction.query('delete from instance where sop_instance_uid = $1', [uid]);
      }
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
    for (const row of removed) await rm(this.path(row), { force: true });
  }

  /** Where an instance's file lies. The UIDs are checked, so that no path leads outside. */
  path(instance: Pick<StoredInstance, 'studyInstanceUID' | 'seriesInstanceUID' | 'sopInstanceUID'>): string {
    const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = instance;
    for (const uid of [studyInstanceUID, seriesInstanceUID, sopInstanceUID]) {
      if (!isUID(uid)) throw new Error('not a UID, so no file can be named after it');
    }
    return join(this.#folder, studyInstanceUID, seriesInstanceUID, `${sopInstanceUID}.dcm`);
  }

  async #entry(on: Queryable, sopInstanceUID: string): Promise<StoredInstance | undefined> {
    const [row] = await on.query<StoredInstance>(
      `select sop_instance_uid as "sopInstanceUID", series_instance_uid as "seriesInstanceUID",
         study_instance_uid as "studyInstanceUID", sop_class_uid as "sopClassUID",
         transfer_syntax_uid as "transferSyntaxUID"
       from instance where sop_instance_uid = $1`,
      [sopInstanceUID],
    );
    return row;
  }
}

async function flushToDisk(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
