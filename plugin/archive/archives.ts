import { DicomDestination } from '../dimse/dicom-destination.ts';
import type { WatchOptions } from '../arrival/watch.ts';
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
  /** Those that are asked for new studies. */
  watched: { archive: DicomWebArchive; options: WatchOptions }[];
  orthanc: OrthancArchive | undefined;
}

/** The archives of the settings beside those given. Nothing is asked of them yet. */
export function openArchives(settings: Settings, ...others: Archive[]): Archives {
  const sources = new Map<string, Archive>(others.map((archive) => [archive.name, archive]));
  const destinations = new Map<string, Destination>();
  const watched: Archives['watched'] = [];
  const orthanc = settings.orthanc && new OrthancArchive(settings.orthanc);
  if (orthanc) sources.set(orthanc.name, orthanc);
  for (const [name, archive] of Object.entries(settings.archives)) {
    if (archive.type === 'dicom') {
      destinations.set(name, new DicomDestination(name, archive));
      continue;
    }
    const { url, timeoutSeconds, watch, pollSeconds, watchDays } = archive;
    const source = new DicomWebArchive({
      name,
      url: url.replace(/\/$/, ''),
      headers: authorization(archive),
      timeoutMs: timeoutSeconds * 1000,
    });
    sources.set(name, source);
    const since = archive.since ?? settings.arrival.since;
    const options = { pollSeconds, watchDays, since: since === undefined ? undefined : new Date(since) };
    if (watch) watched.push({ archive: source, options });
  }
  for (const [name, archive] of sources) destinations.set(name, archive);
  return { sources, destinations, watched, orthanc };
}
