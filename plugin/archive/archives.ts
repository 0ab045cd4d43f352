import { DicomDestination } from '../dimse/dicom-destination.ts';
import type { Settings } from '../settings.ts';
import type { Archive, Destination } from './archive.ts';
import { authorization, DicomWebArchive } from './dicomweb-archive.ts';
import { OrthancArchive } from './orthanc.ts';

/** Every archive by its name. */
export interface Archives {
  /** Those whose studies can be scored. */
  sources: Map<string, Archive>;
  /** Those that results can be sent to; the sources are among them. */
  destinations: Map<string, Destination>;
}

/** The archives of the settings beside those given. Nothing is asked of them yet. */
export function openArchives(settings: Settings, ...others: Archive[]): Archives {
  const sources = new Map<string, Archive>(others.map((archive) => [archive.name, archive]));
  const destinations = new Map<string, Destination>();
  if (settings.orthanc) {
    const orthanc = new OrthancArchive(settings.orthanc);
    sources.set(orthanc.name, orthanc);
  }
  for (const [name, archive] of Object.entries(settings.archives)) {
    if (archive.type === 'dicom') {
      destinations.set(name, new DicomDestination(name, archive));
    } else {
      const address = {
        name,
        url: archive.url.replace(/\/$/, ''),
        headers: authorization(archive),
        timeoutMs: archive.timeoutSeconds * 1000,
      };
      sources.set(name, new DicomWebArchive(address));
    }
  }
  for (const [name, archive] of sources) destinations.set(name, archive);
  return { sources, destinations };
}
