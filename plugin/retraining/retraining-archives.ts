import type { Archive } from '../archive/archive.ts';
import { openArchives } from '../archive/archives.ts';
import { DicomWebArchive } from '../archive/dicomweb-archive.ts';
import { dicomWebPath } from '../dicomweb/router.ts';
import type { Settings } from '../settings.ts';
import { localArchiveName } from '../store/instance-store.ts';

/** A node that says nothing for this long has failed. */
const nodeTimeoutMs = 60_000;

/**
 * The archives that studies to train with may come from. The node's own store is read by its DICOMweb, as any other:
 * a run lasts for hours, in another process.
 */
export function retrainingArchives({ http, ...settings }: Settings): {
  sources: ReadonlyMap<string, Archive>;
  close(): Promise<void>;
} {
  const host = http.host.includes(':') ? `[${http.host}]` : http.host;
  const url = `http://${host}:${http.port}${dicomWebPath}`;
  const local = new DicomWebArchive({ name: localArchiveName, url, headers: {}, timeoutMs: nodeTimeoutMs });
  const { sources, destinations } = openArchives({ http, ...settings }, local);
  return {
    sources,
    async close() {
      for (const archive of destinations.values()) await archive.close();
    },
  };
}
