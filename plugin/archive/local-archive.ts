import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DicomPool } from '../../dicom/pool.ts';
import type { Database } from '../database/database.ts';
import { parseQuery, QueryError } from '../dicomweb/query.ts';
import { search } from '../dicomweb/search.ts';
import { InstanceStore, localArchiveName } from '../store/instance-store.ts';
import type { SearchableArchive, StudyReference } from './archive.ts';
import { studyReferenceOf } from './dicomweb-archive.ts';

/** What the node's own store consists of. */
export interface LocalStore {
  database: Database;
  store: InstanceStore;
  pool: DicomPool;
  /** Folder for objects that are not whole yet. */
  incoming: string;
}

/** The node's own store as an archive: what was sent to the node gets its results beside it. */
export function localArchive({ database, store, pool, incoming }: LocalStore): SearchableArchive {
  return {
    name: localArchiveName,
    instances: (study) => store.find(study),
    async studies(keys, { limit, offset }) {
      const query = { ...parseQuery('study', new URLSearchParams(keys), {}), limit, offset };
      if (query.unsupported.length > 0)
        throw new QueryError(`studies cannot be searched by ${query.unsupported.join(', ')}`);
      const found: StudyReference[] = [];
      for await (const attributes of search({ database, store, pool }, query, '')) {
        found.push(studyReferenceOf(attributes));
      }
      return found;
    },
    header: async (studyInstanceUID, instance) =>
      (await pool.readHeader(store.path({ studyInstanceUID, ...instance }))).dataset,
    retrieve: async (study, series) =>
      (await store.find(study, series)).map((instance) => store.path(instance)),
    async store(objects) {
      for (const { bytes } of objects) {
        const file = join(incoming, randomUUID());
        await writeFile(file, bytes);
        await store.add(file, await pool.readHeader(file), { arrival: false });
      }
    },
    close: () => Promise.resolve(),
    async remove(_study, objects) {
      await store.remove(objects.map(({ sopInstanceUID }) => sopInstanceUID));
      return true;
    },
  };
}
