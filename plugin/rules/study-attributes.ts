import type { Archive, InstanceReference } from '../archive/archive.ts';
import type { Queryable } from '../database/database.ts';
import { ownObjects } from '../jobs/scorings.ts';
import { isOwnResult } from '../scoring/algorithm.ts';
import type { StudyAttributes } from './decide.ts';
import type { Rule } from './schema.ts';

/** Whether rules look at a study at all: only then is the archive asked what it is. */
export function lookAtStudies(rules: readonly Rule[]): boolean {
  return rules.some(
    ({ study, series, complete }) =>
      Object.keys(study).length > 0 || Object.keys(series).length > 0 || complete.instances !== undefined,
  );
}

/**
 * Asks an archive what a study is: one header a series.
 *
 * @param instances of the study, without what we wrote; asked for, if left out.
 */
export async function studyAttributes(
  on: Queryable,
  archive: Archive,
  { studyInstanceUID, sourceAETitle }: { studyInstanceUID: string; sourceAETitle: string | null },
  instances?: readonly InstanceReference[],
): Promise<StudyAttributes> {
  const sources = instances ?? (await sourceInstances(on, archive, studyInstanceUID));
  const series = [];
  for (const [seriesInstanceUID, ofSeries] of Map.groupBy(
    sources,
    (instance) => instance.seriesInstanceUID,
  )) {
    const dataset = await archive.header(studyInstanceUID, ofSeries[0]);
    if (!isOwnResult(dataset)) series.push({ seriesInstanceUID, instanceCount: ofSeries.length, dataset });
  }
  return { archive: archive.name, sourceAETitle, series };
}

/** What an archive holds of a study, without what we wrote. */
export async function sourceInstances(
  on: Queryable,
  archive: Archive,
  studyInstanceUID: string,
): Promise<InstanceReference[]> {
  const instances = await archive.instances(studyInstanceUID);
  const own = await ownObjects(
    on,
    instances.map(({ sopInstanceUID }) => sopInstanceUID),
  );
  return instances.filter(({ sopInstanceUID }) => !own.has(sopInstanceUID));
}
