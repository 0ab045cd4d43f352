import { mkdir, readdir, rename } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { DicomPool, InstanceHeader } from '../../dicom/pool.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import { itemsOf, stringOf } from '../../dicom/writing/keyword.ts';
import { REPORT_SOP_CLASSES } from '../../dicom/sr/measurement-report.ts';
import { readMeasurementReport } from '../../dicom/sr/read-measurement-report.ts';
import type { DataFolder } from '../data-folder/data-folder.ts';
import type { Database } from '../database/database.ts';
import { enterFoundResult } from '../jobs/scorings.ts';
import { isOwnResult } from '../scoring/algorithm.ts';
import { IndexEntries } from './index-entries.ts';
import { InstanceStore, localArchiveName } from './instance-store.ts';

/** What came of it. */
export interface Reindexed {
  /** Instances that were not in the index. */
  added: number;
  /** Those that were. */
  known: number;
  /** Studies whose results were found in the store and entered. */
  results: number;
  /** Files that are no instance that belongs there; they lie in the folder `broken` now. */
  broken: number;
}

/**
 * Enters stored files into the index that are not in it, and our own results among them into the scorings, so that
 * a later result replaces them. It can be broken off and repeated. A file that cannot be read, or that is not the
 * instance that its path names, is moved into the folder `broken` and reported. Only the holder of the data
 * folder's lock may call it.
 */
export async function reindex(
  database: Database,
  pool: DicomPool,
  folder: DataFolder,
  onBroken: (file: string, reason: string) => void,
): Promise<Reindexed> {
  const store = new InstanceStore(database, folder.instances);
  const entries = new IndexEntries(database, localArchiveName);
  const done: Reindexed = { added: 0, known: 0, results: 0, broken: 0 };
  for (const study of await readdir(folder.instances)) {
    const files = await readdir(join(folder.instances, study), { recursive: true, withFileTypes: true });
    const own: InstanceHeader[] = [];
    for (const file of files.filter((entry) => !entry.isDirectory())) {
      const path = join(file.parentPath, file.name);
      const header = await readWhereItBelongs(pool, store, path);
      if ('reason' in header) {
        const name = relative(folder.instances, path);
        const aside = join(folder.root, 'broken', name);
        await mkdir(dirname(aside), { recursive: true });
        await rename(path, aside);
        onBroken(name.split(sep).join('/'), header.reason);
        done.broken++;
        continue;
      }
      if (isOwnResult(header.dataset)) own.push(header);
      if (await store.get(header.sopInstanceUID)) done.known++;
      else {
        await entries.add({ header, arrival: false });
        done.added++;
      }
    }
    if (own.length > 0 && (await enterResult(database, study, own))) done.results++;
  }
  return done;
}

async function readWhereItBelongs(
  pool: DicomPool,
  store: InstanceStore,
  path: string,
): Promise<InstanceHeader | { reason: string }> {
  try {
    const header = await pool.readHeader(path);
    return store.path(header) === path ? header : { reason: 'its UIDs are not those of its path' };
  } catch (error) {
    if (!(error instanceof DicomError) || error.reason === 'timeout' || error.reason === 'worker')
      throw error;
    return { reason: error.message };
  }
}

/** Enters the results of a study as one scoring, by the report that no other names as its predecessor. */
async function enterResult(
  database: Database,
  studyInstanceUID: string,
  own: InstanceHeader[],
): Promise<boolean> {
  const reports = own.filter(({ sopClassUID }) =>
    (Object.values(REPORT_SOP_CLASSES) as string[]).includes(sopClassUID),
  );
  const replaced = JSON.stringify(
    reports.flatMap(({ dataset }) => itemsOf(dataset, 'PredecessorDocumentsSequence')),
  );
  const current = reports.find(({ sopInstanceUID }) => !replaced.includes(`"${sopInstanceUID}"`));
  const objects = [...own].sort((a, b) => Number(b === current) - Number(a === current));
  const report = current && readMeasurementReport(current.dataset);
  return enterFoundResult(database, { archive: localArchiveName, studyInstanceUID }, objects, {
    requestedAt: timeOf(objects[0].dataset),
    bundle: report?.algorithmVersion ?? null,
    score: report?.study ?? null,
  });
}

/** When a result was made, as it says itself; in this machine's time zone where it names none. */
function timeOf(dataset: DicomJson): Date {
  const [date, time, zone = ''] = ['ContentDate', 'ContentTime', 'TimezoneOffsetFromUTC'].map((keyword) =>
    stringOf(dataset, keyword),
  );
  const [, year, month, day] = /^(\d{4})(\d\d)(\d\d)$/.exec(date ?? '') ?? [];
  const [, hour, minute, second] = /^(\d\d)(\d\d)(\d\d)/.exec(time ?? '') ?? [];
  const at = Date.parse(
    `${year}-${month}-${day}T${hour}:${minute}:${second}${zone && `${zone.slice(0, 3)}:${zone.slice(3)}`}`,
  );
  return new Date(Number.isNaN(at) ? 0 : at);
}
