import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { DicomPool } from '../../dicom/pool.ts';
import type { InstanceStore } from '../store/instance-store.ts';

/**
 * Stores a synthetic head with a lesion, as if it had been sent; a second time it is the same. It is drawn in a
 * thread of its own: that takes some seconds.
 *
 * @param incoming folder for files that are not stored yet
 * @returns its StudyInstanceUID
 */
export async function storeSampleStudy(
  store: InstanceStore,
  pool: DicomPool,
  incoming: string,
): Promise<string> {
  const folder = join(incoming, randomUUID());
  try {
    const files = await new Promise<string[]>((resolve, reject) => {
      const worker = new Worker(new URL('./sample-study-worker.ts', import.meta.url), { workerData: folder });
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    const headers = await Promise.all(files.map((file) => pool.readHeader(file)));
    await Promise.all(files.map((file, i) => store.add(file, headers[i], { arrival: true })));
    return headers[0].studyInstanceUID;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
