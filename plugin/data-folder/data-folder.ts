import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { checkLayout } from './layout.ts';

/** Where things are in the data folder. */
export interface DataFolder {
  root: string;
  /** PGlite's files. */
  database: string;
  /** DICOM objects, `<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm`. */
  instances: string;
  /** Uploads that are not whole yet. Emptied at every start. */
  incoming: string;
  /** Studies that a job has fetched from an archive. Emptied at every start. */
  work: string;
  /** Results that an archive has not taken yet, a folder each. */
  undelivered: string;
}

/**
 * Names the folders below `root` and creates those that are missing.
 *
 * @throws NewerDataFolderError if a newer version of this software wrote it.
 */
export function openDataFolder(root: string): DataFolder {
  const at = resolve(root);
  const folder: DataFolder = {
    root: at,
    database: join(at, 'database'),
    instances: join(at, 'instances'),
    incoming: join(at, 'incoming'),
    work: join(at, 'work'),
    undelivered: join(at, 'undelivered'),
  };
  mkdirSync(at, { recursive: true });
  checkLayout(at);
  for (const path of Object.values(folder) as string[]) mkdirSync(path, { recursive: true });
  return folder;
}

/** Removes what an earlier process left half done. Only the holder of the lock may call it. */
export function discardUnfinished(folder: DataFolder): void {
  for (const path of [folder.incoming, folder.work]) {
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path);
  }
}
