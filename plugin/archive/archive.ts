import type { Response } from 'undici';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { ResultObject, ScoreValues } from '../../dicom/result.ts';

/** An instance as a query names it. */
export interface InstanceReference {
  sopInstanceUID: string;
  seriesInstanceUID: string;
  sopClassUID: string;
}

/** A study as a query names it. */
export interface StudyReference {
  studyInstanceUID: string;
  /** `YYYYMMDD`; empty where the study has no date. */
  studyDate: string;
  /** `HHMMSS.FFFFFF` or a part of it. */
  studyTime: string;
  /** Of the archive's answer, `±HHMM`; empty where it does not say. */
  timezoneOffset: string;
  /** How many instances the archive holds of it, where it tells. */
  instances: number | undefined;
}

/** Some objects were stored, or none, and others not. */
export class PartlyStoredError extends Error {
  override name = 'PartlyStoredError';
  readonly stored: InstanceReference[];

  constructor(message: string, stored: InstanceReference[], options?: ErrorOptions) {
    super(message, options);
    this.stored = stored;
  }
}

/** An archive does not take a note of a study, and will not take it later either. */
export class NoteRefusedError extends Error {
  override name = 'NoteRefusedError';
}

/** Where results go. */
export interface Destination {
  readonly name: string;

  /** Every instance that it holds of a study, empty if it holds none; undefined if it cannot be asked. */
  instances(studyInstanceUID: string): Promise<InstanceReference[] | undefined>;

  /**
   * Stores result objects. An object that is already there counts as stored.
   *
   * @throws PartlyStoredError naming what was not stored.
   */
  store(objects: ResultObject[]): Promise<void>;

  /** Breaks off requests that are under way. */
  close(): Promise<void>;

  /**
   * Writes what came of a study where its users see it without opening it, if there is such a place.
   *
   * @throws NoteRefusedError; any other error where it may be tried again.
   */
  note?(studyInstanceUID: string, score: ScoreValues): Promise<void>;

  /** Deletes what an earlier result left, where that is permitted; true if it did. */
  remove(studyInstanceUID: string, objects: InstanceReference[]): Promise<boolean>;
}

/** Where studies come from, and where results go unless a rule says otherwise. */
export interface Archive extends Destination {
  instances(studyInstanceUID: string): Promise<InstanceReference[]>;

  /** One page of the studies that match a query (PS3.18 section 10.6), where it can be searched. */
  studies?(query: Record<string, string>, page: { limit: number; offset: number }): Promise<StudyReference[]>;

  /** The attributes of one instance, without bulk data. */
  header(studyInstanceUID: string, instance: InstanceReference): Promise<DicomJson>;

  /**
   * The archive's own answer to a GET of its DICOMweb service, where it has one.
   *
   * @param path below the service's root, with the query
   * @throws Error if it cannot be asked.
   */
  get?(path: string, accept: string, signal: AbortSignal): Promise<Response>;

  /**
   * Brings a series into files, one an instance: new ones in `folder`, or the archive's own, which must not be
   * changed.
   *
   * @throws Error if the archive's answer did not come whole.
   */
  retrieve(studyInstanceUID: string, seriesInstanceUID: string, folder: string): Promise<string[]>;
}

/** An archive whose studies can be asked for. */
export type SearchableArchive = Archive & Required<Pick<Archive, 'studies'>>;

export function isSearchable(archive: Archive | undefined): archive is SearchableArchive {
  return archive?.studies !== undefined;
}

/**
 * Checks by query that objects are in an archive.
 *
 * @returns false if it cannot be asked: all that is known is that it said it had stored them.
 * @throws Error naming the first that is missing.
 */
export async function verifyStored(
  archive: Destination,
  studyInstanceUID: string,
  objects: InstanceReference[],
): Promise<boolean> {
  const instances = await archive.instances(studyInstanceUID);
  if (!instances) return false;
  const found = new Set(instances.map(({ sopInstanceUID }) => sopInstanceUID));
  const missing = objects.filter(({ sopInstanceUID }) => !found.has(sopInstanceUID));
  if (missing.length > 0) {
    throw new Error(
      `${archive.name}: ${missing.length} of ${objects.length} stored objects are not found by a query, first ${missing[0].sopInstanceUID}`,
    );
  }
  return true;
}
