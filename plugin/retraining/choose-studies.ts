import { readFile } from 'node:fs/promises';
import type { Archive } from '../archive/archive.ts';
import { isSearchable } from '../archive/archive.ts';
import { OrthancArchive } from '../archive/orthanc.ts';
import type { Feedback, StudyReference } from '../feedback/feedback.ts';
import { matchingKeys, type RetrainingRequest, type StudySource } from './request.ts';

/** A study of an archive that was chosen, and every reason why. */
export interface ChosenStudy extends StudyReference {
  why: string[];
}

/** What a run is about. */
export interface ChosenStudies {
  normal: ChosenStudy[];
  abnormal: ChosenStudy[];
  /** Studies named as normal that are named as abnormal, too, or that a reader called abnormal or spoilt last. */
  contradicted: number;
}

/** What is asked to choose. */
export interface ChoiceContext {
  archives: ReadonlyMap<string, Archive>;
  /** The studies of which readers said this last. */
  judged: (label: Feedback['label']) => Promise<readonly (StudyReference & { givenAt: Date | string })[]>;
}

const pageSize = 200;

/**
 * The studies that a request names, each once. Nothing of them is fetched.
 *
 * @throws Error if an archive does not answer, or cannot be asked in this way.
 */
export async function chooseStudies(
  request: RetrainingRequest,
  context: ChoiceContext,
): Promise<ChosenStudies> {
  const named = await studiesOf(request.normal, 'normal', context);
  const abnormal = request.abnormal ? await studiesOf(request.abnormal, 'abnormal', context) : [];
  const judged = [await context.judged('abnormal'), await context.judged('artefact')].flat();
  const notNormal = new Set([...abnormal, ...judged].map(keyOf));
  const normal = named.filter((study) => !notNormal.has(keyOf(study)));
  return { normal, abnormal, contradicted: named.length - normal.length };
}

/** Stands for a study of an archive. */
export function keyOf({ archive, studyInstanceUID }: StudyReference): string {
  return `${archive} ${studyInstanceUID}`;
}

async function studiesOf(
  source: StudySource,
  label: 'normal' | 'abnormal',
  { archives, judged }: ChoiceContext,
): Promise<ChosenStudy[]> {
  const chosen = new Map<string, ChosenStudy>();
  const add = (studies: readonly StudyReference[], why: string) => {
    for (const { archive, studyInstanceUID } of studies) {
      const study = { archive, studyInstanceUID, why: [why] };
      const before = chosen.get(keyOf(study));
      if (before) before.why.push(why);
      else chosen.set(keyOf(study), study);
    }
  };
  const { archive: name, studies, query, label: orthancLabel, metadata, feedback } = source;
  const inArchive = (uids: readonly string[]) =>
    uids.map((studyInstanceUID) => ({ archive: name, studyInstanceUID }));

  if (studies !== undefined) add(inArchive(await listedStudies(studies)), `named in ${studies}`);
  if (query !== undefined) {
    add(inArchive(await queriedStudies(archiveOf(archives, name), query)), `matches ${query}`);
  }
  if (orthancLabel !== undefined) {
    add(inArchive(await orthancOf(archives, name).labelled(orthancLabel)), `has the label ${orthancLabel}`);
  }
  if (metadata !== undefined) {
    const [key, ...value] = metadata.split('=');
    add(
      inArchive(await orthancOf(archives, name).withMetadata(key, value.join('='))),
      `has the metadata ${metadata}`,
    );
  }
  if (feedback) {
    for (const study of await judged(label)) {
      add([study], `a reader said ${label} at ${new Date(study.givenAt).toISOString()}`);
    }
  }
  return [...chosen.values()];
}

/** The UIDs of a file: one a line; empty lines and those that begin with # are passed over. */
async function listedStudies(path: string): Promise<string[]> {
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => line.trim());
  return lines.flatMap((line, i) => {
    if (line === '' || line.startsWith('#')) return [];
    if (!/^[0-9.]{1,64}$/.test(line)) throw new Error(`${path}:${i + 1}: not a StudyInstanceUID`);
    return [line];
  });
}

async function queriedStudies(archive: Archive, query: string): Promise<string[]> {
  if (!isSearchable(archive)) throw new Error(`archive ${archive.name} cannot be searched`);
  const found = new Set<string>();
  for (;;) {
    const page = await archive.studies(matchingKeys(query)!, { limit: pageSize, offset: found.size });
    const before = found.size;
    for (const { studyInstanceUID } of page) found.add(studyInstanceUID);
    if (found.size === before) return [...found]; // the end, or an archive that ignores the offset
  }
}

function archiveOf(archives: ReadonlyMap<string, Archive>, name: string): Archive {
  const archive = archives.get(name);
  if (!archive) {
    throw new Error(`no archive ${name} in the settings; there are: ${[...archives.keys()].join(', ')}`);
  }
  return archive;
}

function orthancOf(archives: ReadonlyMap<string, Archive>, name: string): OrthancArchive {
  const archive = archiveOf(archives, name);
  if (!(archive instanceof OrthancArchive)) {
    throw new Error(`archive ${name} is not the Orthanc of the settings: it has no labels and no metadata`);
  }
  return archive;
}
