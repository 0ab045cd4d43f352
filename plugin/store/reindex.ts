import { mkdir, readdir, rename } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { rejectedBy } from '../../dicom/ko/key-object-selection.ts';
import { planeGeometry, positionAlongNormal } from '../../dicom/plane-geometry.ts';
import type { DicomPool, InstanceHeader } from '../../dicom/pool.ts';
import { numberOf } from '../../dicom/reading/attribute.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import { itemsOf, stringOf } from '../../dicom/writing/keyword.ts';
import { REPORT_SOP_CLASSES } from '../../dicom/sr/measurement-report.ts';
import { readMeasurementReport, type ReportedScores } from '../../dicom/sr/read-measurement-report.ts';
import { openBundle } from '../../inference/bundle/registry.ts';
import type { DataFolder } from '../data-folder/data-folder.ts';
import type { Database } from '../database/database.ts';
import { enterFoundResult, type FoundResult } from '../jobs/scorings.ts';
import { isOwnResult } from '../scoring/algorithm.ts';
import { subjectOf } from '../scoring/subject.ts';
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

/** What no stored file tells: it is lost with the database. */
export const lostWithDatabase = [
  'what readers said',
  'scores of slices that no report names',
  'anomaly maps of the study pages, until the studies are scored again (qfae rescore)',
  'scorings without a result, and those before the last one',
];

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
    if (own.length > 0 && (await enterResult({ database, pool, store, folder }, study, own))) done.results++;
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

interface ReindexContext {
  database: Database;
  pool: DicomPool;
  store: InstanceStore;
  folder: DataFolder;
}

/**
 * Enters the results of a study as one scoring, by the report that no other names as its predecessor and no note
 * rejects.
 */
async function enterResult(
  context: ReindexContext,
  studyInstanceUID: string,
  own: InstanceHeader[],
): Promise<boolean> {
  const notes = own.filter(({ dataset }) => rejectedBy(dataset) !== undefined);
  const rejected = new Set(notes.flatMap(({ dataset }) => rejectedBy(dataset)!));
  const reports = own.filter(({ sopClassUID }) =>
    (Object.values(REPORT_SOP_CLASSES) as string[]).includes(sopClassUID),
  );
  const replaced = JSON.stringify(
    reports.flatMap(({ dataset }) => itemsOf(dataset, 'PredecessorDocumentsSequence')),
  );
  const current = reports.find(
    ({ sopInstanceUID }) => !replaced.includes(`"${sopInstanceUID}"`) && !rejected.has(sopInstanceUID),
  );
  const objects = [...own]
    .sort((a, b) => Number(b === current) - Number(a === current))
    .map((object) => ({
      ...object,
      role: notes.includes(object)
        ? ('note' as const)
        : rejected.has(object.sopInstanceUID)
          ? ('rejected' as const)
          : ('result' as const),
    }));
  const report = current && readMeasurementReport(current.dataset);
  const bundle =
    report && (await openBundle(context.folder.root, report.algorithmVersion).catch(() => undefined));
  return enterFoundResult(context.database, {
    archive: localArchiveName,
    studyInstanceUID,
    objects,
    requestedAt: timeOf(objects[0].dataset),
    bundle: report?.algorithmVersion ?? null,
    profile: bundle?.profile.name ?? null,
    score: report?.study ?? null,
    ...(await reportedSlices(context, report?.slices ?? [])),
  });
}

/** The slices of a report, as far as the images that they are of are stored, and what these say of the study. */
async function reportedSlices(
  { pool, store }: ReindexContext,
  reported: ReportedScores['slices'],
): Promise<Pick<FoundResult, 'slices' | 'subject'>> {
  const found: Pick<FoundResult, 'slices' | 'subject'> = { slices: [], subject: null };
  for (const { sopInstanceUID, frame, score } of reported) {
    const image = await store.get(sopInstanceUID);
    if (!image) continue;
    const { dataset } = await pool.readHeader(store.path(image));
    const [rows, columns] = [numberOf(dataset, '00280010') ?? 0, numberOf(dataset, '00280011') ?? 0];
    const plane = planeGeometry(dataset, frame);
    const position = plane ? positionAlongNormal(plane) : null;
    found.slices.push({ sopInstanceUID, frame, rows, columns, position, score });
    found.subject ??= subjectOf(dataset);
  }
  return found;
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
