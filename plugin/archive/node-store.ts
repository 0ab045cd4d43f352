import { InstanceStore, localArchiveName } from '../store/instance-store.ts';
import type { Archive } from './archive.ts';
import { authorization, DicomWebArchive } from './dicomweb-archive.ts';

/**
 * The node's own store, as a worker on another machine reaches it: objects come and go by the node's DICOMweb; the
 * index lies in the database that both share. Files of what is removed are removed by the node.
 *
 * @param index of which only the database is used.
 */
export function nodeStore(
  index: InstanceStore,
  { url: nodeURL, token }: { url: string; token?: string | undefined },
  timeoutMs: number,
): Archive {
  const url = `${nodeURL.replace(/\/$/, '')}/dicom-web`;
  const node = new DicomWebArchive({
    name: localArchiveName,
    url,
    headers: authorization({ token }),
    timeoutMs,
  });
  return {
    name: localArchiveName,
    instances: (study) => index.find(study),
    header: (study, instance) => node.header(study, instance),
    retrieve: (study, series, folder) => node.retrieve(study, series, folder),
    store: (objects) => node.store(objects),
    close: () => node.close(),
    async remove(_study, objects) {
      await index.remove(objects.map(({ sopInstanceUID }) => sopInstanceUID));
      return true;
    },
  };
}
