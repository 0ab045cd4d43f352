import type { ResultObject } from '../../dicom/result.ts';

/** An instance as a query names it. */
export interface InstanceReference {
  sopInstanceUID: string;
  seriesInstanceUID: string;
  sopClassUID: string;
}

/** Where studies come from and results go: the node's own store, or a DICOMweb server. */
export interface Archive {
  readonly name: string;

  /** Every instance that the archive holds of a study; empty if it holds none. */
  instances(studyInstanceUID: string): Promise<InstanceReference[]>;

  /**
   * Brings a series into files, one an instance: new ones in `folder`, or the archive's own, which must not be
   * changed.
   *
   * @throws Error if the archive's answer did not come whole.
   */
  retrieve(studyInstanceUID: string, seriesInstanceUID: string, folder: string): Promise<string[]>;

  /**
   * Stores result objects. An object that is already there counts as stored.
   *
   * @throws Error naming what was not stored.
   */
  store(objects: ResultObject[]): Promise<void>;

  /** Breaks off requests that are under way. */
  close(): Promise<void>;

  /** Deletes what an earlier result left, where the archive permits it; true if it did. */
  remove(studyInstanceUID: string, objects: InstanceReference[]): Promise<boolean>;
}

/**
 * Checks by query that objects are in the archive.
 *
 * @throws Error naming the first that is missing.
 */
export async function verifyStored(
  archive: Archive,
  studyInstanceUID: string,
  objects: InstanceReference[],
): Promise<void> {
  const found = new Set(
    (await archive.instances(studyInstanceUID)).map(({ sopInstanceUID }) => sopInstanceUID),
  );
  const missing = objects.filter(({ sopInstanceUID }) => !found.has(sopInstanceUID));
  if (missing.length > 0) {
    throw new Error(
      `${archive.name}: ${missing.length} of ${objects.length} stored objects are not found by a query, first ${missing[0].sopInstanceUID}`,
    );
  }
}
