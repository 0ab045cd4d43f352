import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DicomPool } from '../../dicom/pool.ts';
import { localArchiveName, type InstanceStore } from '../store/instance-store.ts';
import type { Archive } from './archive.ts';

/** The node's own store as an archive: what was sent to the node gets its results beside it. */
export function localArchive(store: InstanceStore, pool: DicomPool, incoming: string): Archive {
  return {
    name: localArchiveName,
    instances: (study) => store.find(study),
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
