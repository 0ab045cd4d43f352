import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { planeGeometry } from '../../dicom/plane-geometry.ts';
import type { DicomPool } from '../../dicom/pool.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import { numberOf, stringOf } from '../../dicom/reading/attribute.ts';
import type { Profile } from '../../inference/bundle/profiles.ts';
import { picturesIn, readGreyPicture } from '../../training/pictures.ts';
import { pseudonyms, SliceCacheWriter } from '../../training/slice-cache.ts';
import type { SourceSlice } from '../../training/slice-cache.ts';
import type { Archive } from '../archive/archive.ts';
import { candidateSeries, presentSeries } from '../scoring/candidate-series.ts';
import { anatomicalPlane } from '../scoring/profile-fit.ts';
import { dicomStudies, patientOf } from '../scoring/readable-study.ts';
import { selectSeries, type CandidateSeries, type SelectedSeries } from '../scoring/series-selection.ts';
import { readSlices } from '../scoring/series-slices.ts';
import type { ChosenStudy } from './choose-studies.ts';
import { appendStudies, readStudies, type StackGeometry, type StudyRecord } from './study-record.ts';

/** Studies whose slices are entered in the cache together; what is cut short begins with the last such group again. */
const GROUP = 20;

/** What a data set is made of. */
export interface DataSetOptions {
  /** The run's folder: the manifest `studies.jsonl`, and a cache for each part. */
  readonly folder: string;
  readonly part: StudyRecord['part'];
  readonly studies: readonly ChosenStudy[];
  /** A folder of DICOM files, or of pictures. */
  readonly files?: string;
  readonly patientPattern?: RegExp;
  /** Studies that are not taken, by UID or path: those that are known to be abnormal. */
  readonly except?: ReadonlySet<string>;
  /** Which series is taken, and how its values become grey: as in scoring. */
  readonly profile: Profile;
  readonly salt: string;
  readonly archives: ReadonlyMap<string, Archive>;
  readonly pool: DicomPool;
  /** At most so many studies are taken, always the same ones; the others are not fetched. */
  readonly limit?: number;
  /** Only so many studies, to try. */
  readonly first?: number;
  readonly onStudy?: (record: StudyRecord, done: number, of: number) => void;
  readonly signal?: AbortSignal;
}

/** Where a run's manifest lies. */
export const manifestPath = (folder: string) => join(folder, 'studies.jsonl');
/** Where the slice cache of a part lies in a run's folder. */
export const cachePath = (folder: string, part: StudyRecord['part']) => join(folder, `${part}-slices`);

/** A study that is to be brought into the cache. */
interface Source extends Pick<StudyRecord, 'archive' | 'study' | 'why'> {
  /** What the profile takes of it, or why nothing; `folder` is for files, and is removed afterwards. */
  open: (folder: string) => Promise<OpenedStudy | { reason: string }>;
}

interface OpenedStudy {
  patient: string;
  geometry?: StackGeometry;
  slices: () => AsyncIterable<Pick<SourceSlice, 'pixels' | 'rows' | 'columns' | 'mask'>>;
}

/**
 * Brings studies, one after the other, into a part's slice cache, and says in the manifest what became of each. What is
 * in the manifest already is not fetched again, so a run that was ended goes on. A study that cannot be read, or that
 * the profile does not score, is left out with its reason. Studies come in an order that is random, but always the same.
 *
 * @throws Error if an archive does not answer, or a study cannot be decoded in time.
 */
export async function buildDataSet(options: DataSetOptions): Promise<StudyRecord[]> {
  const { folder, part, limit = Infinity, signal } = options;
  await mkdir(folder, { recursive: true });
  const manifest = manifestPath(folder);
  const known = new Map<string, StudyRecord>();
  const enter = (records: readonly StudyRecord[]) => {
    for (const record of records) known.set(nameOf(record), record);
  };
  const cached = existsSync(cachePath(folder, part)); // not once its pixels were removed
  enter(
    (await readStudies(manifest)).filter(
      (record) => record.part === part && (cached || record.leftOut !== undefined),
    ),
  );
  const sources = (await sourcesOf(options)).slice(0, options.first);
  using opened = new DisposableStack();
  let cache: SliceCacheWriter | undefined;
  for (;;) {
    const records = sources.flatMap((source) => known.get(nameOf(source)) ?? []);
    const wanted = limit - records.filter(({ leftOut }) => leftOut === undefined).length;
    const waiting = sources.filter((source) => !known.has(nameOf(source))).slice(0, wanted);
    if (waiting.length === 0) return records;
    const group: StudyRecord[] = [];
    const slices = slicesOf(waiting.slice(0, GROUP), options, (record) => {
      group.push(record);
      options.onStudy?.(record, records.length + group.length, records.length + waiting.length);
    });
    cache ??= opened.adopt(await SliceCacheWriter.open(cachePath(folder, part), options.salt), (cache) => {
      cache.close();
    });
    await cache.add(slices);
    await appendStudies(manifest, group);
    enter(group);
    signal?.throwIfAborted();
  }
}

const nameOf = ({ archive, study }: Pick<StudyRecord, 'archive' | 'study'>) => `${archive ?? ''} ${study}`;

/** How many studies a data set would be made of. */
export async function sourceCount(options: DataSetOptions): Promise<number> {
  return (await sourcesOf(options)).length;
}

/** The slices of studies as the cache takes them; each study is told when it is through. */
async function* slicesOf(
  sources: readonly Source[],
  { part, salt, folder, except, signal }: DataSetOptions,
  tell: (record: StudyRecord) => void,
): AsyncGenerator<SourceSlice> {
  for (const { archive, study, why, open } of sources) {
    signal?.throwIfAborted();
    const common = { part, ...(archive !== undefined && { archive }), study, why };
    if (except?.has(study)) {
      tell({ ...common, slices: 0, leftOut: 'is among the abnormal ones, too' });
      continue;
    }
    const files = join(folder, 'work', randomUUID());
    await mkdir(files, { recursive: true });
    try {
      const opened = await open(files);
      if ('reason' in opened) {
        tell({ ...common, slices: 0, leftOut: opened.reason });
        continue;
      }
      const { patient, geometry } = opened;
      let slices = 0;
      for await (const { pixels, rows, columns, mask } of opened.slices()) {
        yield { pixels, rows, columns, ...(mask && { mask }), patient, study };
        slices += 1;
      }
      tell({
        ...common,
        slices,
        pseudonyms: pseudonyms(salt, { patient, study }),
        ...(geometry && { geometry }),
      });
    } catch (error) {
      if (!(error instanceof DicomError)) throw error;
      // A machine that is too busy, or a file that is away, may be well again: the run fails, and goes on.
      if (['timeout', 'worker'].includes(error.reason)) {
        throw new Error(`study ${study} could not be read now: ${error.message}`, { cause: error });
      }
      // Bytes that cannot be read stay so; slices before them are in the cache, but in no record.
      tell({ ...common, slices: 0, leftOut: error.message });
    } finally {
      await rm(files, { recursive: true, force: true });
    }
  }
}

async function sourcesOf(options: DataSetOptions): Promise<Source[]> {
  const { studies, files, salt } = options;
  const sources = [
    ...studies.map((study) => archivedStudy(study, options)),
    ...(files === undefined ? [] : await studiesInFolder(files, options)),
  ];
  const place = new Map(
    sources.map((source) => [source, pseudonyms(salt, { ...source, patient: '' }).study]),
  );
  return sources.sort((a, b) => (place.get(a)! < place.get(b)! ? -1 : 1));
}

function archivedStudy(
  { archive: name, studyInstanceUID, why }: ChosenStudy,
  { archives, pool, profile, signal }: DataSetOptions,
): Source {
  return {
    archive: name,
    study: studyInstanceUID,
    why,
    async open(folder) {
      const archive = archives.get(name);
      if (!archive) throw new Error(`no archive ${name} in the settings`);
      const instances = await archive.instances(studyInstanceUID);
      if (instances.length === 0) return { reason: `archive ${name} holds nothing of it` };
      const study = { archive, pool, studyInstanceUID, folder };
      return openStudy(pool, profile, candidateSeries(study, instances), signal);
    },
  };
}

async function studiesInFolder(
  named: string,
  { pool, profile, patientPattern, signal }: DataSetOptions,
): Promise<Source[]> {
  const folder = resolve(named); // a picture has one path, however its folder is called
  const why = [`is in ${folder}`];
  const pictures = await picturesIn(folder);
  if (pictures.length > 0) {
    const patientIn = (path: string) => {
      const patient = patientPattern ? patientPattern.exec(basename(path))?.[1] : basename(path);
      if (patient === undefined) throw new Error(`${path}: its name does not fit ${String(patientPattern)}`);
      return patient;
    };
    return pictures.map((path) => ({
      study: path,
      why,
      open: () =>
        Promise.resolve({
          patient: patientIn(path),
          async *slices() {
            yield await readGreyPicture(path);
          },
        }),
    }));
  }
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  const studies = await dicomStudies(
    pool,
    files.map(({ parentPath, name }) => join(parentPath, name)).sort(),
  );
  if (studies.size === 0) throw new Error(`${folder} holds neither DICOM files nor PNG or JPEG pictures`);
  return [...studies].map(([study, instances]) => ({
    study,
    why,
    open: () => openStudy(pool, profile, presentSeries(instances), signal),
  }));
}

async function openStudy(
  pool: DicomPool,
  profile: Profile,
  candidates: readonly CandidateSeries[],
  signal: AbortSignal | undefined,
): Promise<OpenedStudy | { reason: string }> {
  const series = await selectSeries(pool, profile, candidates, signal);
  if ('reason' in series) return series;
  return {
    patient: patientOf(series.instances[0]),
    geometry: geometryOf(series),
    slices: () => readSlices(pool, series),
  };
}

function geometryOf({ instances, slices }: SelectedSeries): StackGeometry {
  const [{ index, frame }] = slices;
  const { dataset } = instances[index].header;
  const [rows, columns] = [numberOf(dataset, '00280010')!, numberOf(dataset, '00280011')!];
  const plane = planeGeometry(dataset, frame);
  const positions = slices.flatMap(({ position }) => position ?? []);
  const gaps = positions.slice(1).map((position, i) => Math.abs(position - positions[i]));
  const spacing = gaps.sort((a, b) => a - b).at(Math.floor(gaps.length / 2));
  return {
    modality: stringOf(dataset, '00080060') ?? 'unknown',
    ...{ rows, columns },
    ...(plane && {
      plane: anatomicalPlane(plane),
      extent: Math.max(rows * plane.pixelSpacing[0], columns * plane.pixelSpacing[1]),
    }),
    ...(spacing !== undefined && spacing > 0 && { sliceSpacing: spacing }),
  };
}
