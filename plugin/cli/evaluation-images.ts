import { existsSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import sharp from 'sharp';
import { isPicture } from '../../training/pictures.ts';
import { tellOwnPatients } from './own-patients.ts';

/** A picture with a known answer. */
export interface EvaluationImage {
  readonly path: string;
  readonly abnormal: boolean;
  /** Whose it is. */
  readonly patient: string;
  /** The ground truth; undefined: no abnormal pixel. */
  readonly mask: string | undefined;
}

/** How a picture's patient is found: by a regular expression on its file name, or by its folder. */
export type PatientRule = RegExp | 'folder' | undefined;

/**
 * The pictures of a folder, in the order of their names. If the folder has a folder `img` (as BMAD has it), they
 * are those in there, and masks lie beside it in `label` or `anomaly_mask`; otherwise masks are in `masks`. A mask
 * has the file name of its picture. Without a patient rule it is said on stderr that each is a patient of its own.
 *
 * @throws Error if there is no picture, a file's name does not fit the patient rule, or a mask has another size
 *   than its picture.
 */
export async function evaluationImages(
  folder: string,
  abnormal: boolean,
  patient: PatientRule,
  masks?: string,
): Promise<EvaluationImage[]> {
  const bmad = isFolder(join(folder, 'img'));
  const images = bmad ? join(folder, 'img') : folder;
  const beside = ['label', 'anomaly_mask'].map((name) => join(folder, name)).find(isFolder);
  const maskFolder = masks ?? (bmad ? beside : undefined);
  const names = (await readdir(images, { recursive: true })).filter(isPicture).sort();
  if (names.length === 0) throw new Error(`${images} holds no PNG or JPEG picture`);
  if (patient === undefined) tellOwnPatients(images, names.length, '--patient EXPRESSION');
  const found = names.map((name) => {
    const mask = maskFolder === undefined ? undefined : join(maskFolder, name);
    return {
      path: join(images, name),
      abnormal,
      patient: patientOf(join(images, name), patient),
      mask: mask !== undefined && existsSync(mask) ? mask : undefined,
    };
  });
  for (const { path, mask } of found) if (mask !== undefined) await expectSameSize(path, mask);
  return found;
}

/** Before anything is scored: a run over thousands of pictures is not to end at the last one. */
async function expectSameSize(path: string, mask: string): Promise<void> {
  const [image, truth] = [await sharp(path).metadata(), await sharp(mask).metadata()];
  if (image.width === truth.width && image.height === truth.height) return;
  throw new Error(
    `${mask} has ${truth.width} × ${truth.height} pixels, ${path} has ${image.width} × ${image.height}: it is no mask of it`,
  );
}

/** The folders of the normal and of the abnormal pictures of a data set in the layout of BMAD. */
export function bmadFolders(dataset: string): { normal: string; abnormal: string } {
  const [normal, abnormal] = ['good', 'Ungood'].map((name) => join(dataset, 'test', name));
  for (const folder of [normal, abnormal]) {
    if (!isFolder(folder)) throw new Error(`${folder} is missing: ${dataset} has not the layout of BMAD`);
  }
  return { normal, abnormal };
}

function patientOf(path: string, rule: PatientRule): string {
  if (rule === undefined) return path; // each picture a patient
  if (rule === 'folder') return dirname(path);
  const match = rule.exec(basename(path));
  if (!match) throw new Error(`${path}: its name does not match ${rule.source}`);
  return match[1] ?? match[0];
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
