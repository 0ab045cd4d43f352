import type { DicomPool } from '../../dicom/pool.ts';
import type { Archive, InstanceReference } from '../archive/archive.ts';
import { SEGMENTATION, type CandidateSeries, type SourceInstance } from './series-selection.ts';

/** A study in an archive, and where its series are brought. */
export interface ArchivedStudy {
  archive: Archive;
  pool: DicomPool;
  studyInstanceUID: string;
  /** Its files are the caller's to remove. */
  folder: string;
}

/**
 * The series of a study that may be scored; each is fetched when its turn comes.
 *
 * @param fitting the series that may be scored; all, if left out. Segments of them are looked at in any case.
 */
export function candidateSeries(
  study: ArchivedStudy,
  instances: readonly InstanceReference[],
  fitting?: readonly string[],
): CandidateSeries[] {
  const bySeries = Map.groupBy(
    instances.filter(
      ({ seriesInstanceUID, sopClassUID }) =>
        !fitting || fitting.includes(seriesInstanceUID) || sopClassUID === SEGMENTATION,
    ),
    ({ seriesInstanceUID }) => seriesInstanceUID,
  );
  return [...bySeries].map(([seriesInstanceUID, ofSeries]) => ({
    seriesInstanceUID,
    sopClassUIDs: ofSeries.map(({ sopClassUID }) => sopClassUID),
    read: () => fetchSeries(study, seriesInstanceUID, ofSeries),
  }));
}

/** The series of a study whose files are at hand. */
export function presentSeries(instances: readonly SourceInstance[]): CandidateSeries[] {
  return [...Map.groupBy(instances, ({ header }) => header.seriesInstanceUID)].map(([uid, ofSeries]) => ({
    seriesInstanceUID: uid,
    sopClassUIDs: ofSeries.map(({ header }) => header.sopClassUID),
    read: () => Promise.resolve(ofSeries),
  }));
}

/** Fetches a series; it is whole if its instances are those that the query named. */
async function fetchSeries(
  { archive, pool, studyInstanceUID, folder }: ArchivedStudy,
  seriesInstanceUID: string,
  expected: readonly InstanceReference[],
): Promise<SourceInstance[]> {
  const files = await archive.retrieve(studyInstanceUID, seriesInstanceUID, folder);
  const instances = await Promise.all(
    files.map(async (path) => ({ path, header: await pool.readHeader(path) })),
  );
  const arrived = new Set(instances.map(({ header }) => header.sopInstanceUID));
  const missing = expected.filter(({ sopInstanceUID }) => !arrived.has(sopInstanceUID));
  if (missing.length > 0) {
    throw new Error(
      `series ${seriesInstanceUID}: ${missing.length} of ${expected.length} instances were not delivered, first ${missing[0].sopInstanceUID}`,
    );
  }
  return instances;
}
