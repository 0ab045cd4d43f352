import { readdir, stat } from 'node:fs/promises';
import { basename, join, parse } from 'node:path';
import sharp from 'sharp';
import type { InputSlice } from '../inference/preprocess.ts';
import type { SourceSlice } from './slice-cache.ts';

/** Whether a file's name says that it is a PNG or JPEG picture. */
export function isPicture(path: string): boolean {
  return /\.(png|jpe?g)$/i.test(path);
}

/**
 * Reads a PNG or JPEG picture as 8-bit grey; transparent parts are black.
 *
 * @throws Error if it is none, without its path: file names may say who the patient is.
 */
export async function readGreyPicture(path: string): Promise<InputSlice> {
  const { data, info } = await sharp(path)
    .flatten({ background: 'black' })
    .greyscale()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { pixels: new Uint8Array(data), rows: info.height, columns: info.width };
}

/** The pictures below a folder, sorted. */
export async function picturesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && isPicture(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/**
 * The normal pictures of a folder as slices. In a data set of BMAD's layout these are the ones in
 * `train/good`; elsewhere all. Who the patient is only the file's name can tell: the first group of
 * `patientPattern`, matched against it; without a pattern every picture is a patient of its own.
 */
export async function* normalPictures(folder: string, patientPattern?: RegExp): AsyncGenerator<SourceSlice> {
  const good = join(folder, 'train', 'good');
  const root = (await isFolder(good)) ? good : folder;
  for (const path of await picturesIn(root)) {
    const { name } = parse(path);
    const patient = patientPattern ? patientPattern.exec(basename(path))?.[1] : name;
    if (patient === undefined) throw new Error(`${path}: its name does not fit ${String(patientPattern)}`);
    const picture = await readGreyPicture(path).catch((cause: unknown) => {
      throw new Error(`${path} cannot be read as a picture: ${(cause as Error).message}`, { cause });
    });
    yield { ...picture, patient, study: patient };
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
