import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle } from '../../inference/bundle/schema.ts';

/**
 * The salt of the pseudonyms that bundles made in this data folder carry for the studies that they have seen: the
 * same in all runs, so that a later run knows them again. Made at its first use; it never leaves the folder.
 */
export async function studySalt(root: string): Promise<string> {
  const path = join(root, 'study-salt');
  await writeFile(path, randomBytes(32).toString('hex'), { flag: 'wx', mode: 0o600 }).catch(
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    },
  );
  const salt = await readFile(path, 'utf8');
  if (!/^[0-9a-f]{64}$/.test(salt)) throw new Error(`${path} is damaged: no salt of 64 hexadecimal digits`);
  return salt;
}

/** Whether the pseudonyms of what a bundle has seen, if it has seen anything, were made with this salt. */
export function isComparable(
  { studyHashes, studySalt }: Pick<Bundle['provenance'], 'studyHashes' | 'studySalt'>,
  salt: string,
): boolean {
  return studyHashes.length === 0 || studySalt === saltID(salt);
}

/** Says of two salts whether they are the same, and nothing else. */
export function saltID(salt: string): string {
  return createHash('sha256').update(`salt ${salt}`).digest('hex').slice(0, 16);
}
