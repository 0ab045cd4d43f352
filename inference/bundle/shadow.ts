import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../atomic-file.ts';
import { bundleIDs, openBundle, promotedBundle } from './registry.ts';
import { calibrationOf, nameSchema } from './schema.ts';
import type { Bundle } from './schema.ts';

/*
 * shadow/<profile> in a registry's root holds the ID of the candidate that scores beside the promoted bundle.
 */

const shadowPath = (root: string, profile: string) => join(root, 'shadow', nameSchema.parse(profile));

/** Lets a candidate score what its profile scores, and write nothing. Throws if it is promoted, or not calibrated. */
export async function setShadow(root: string, reference: string): Promise<Bundle> {
  const bundle = await openBundle(root, reference);
  calibrationOf(bundle);
  const profile = bundle.profile.name;
  if ((await promotedBundle(root, profile)) === bundle.id) {
    throw new Error(`bundle ${bundle.id} scores for ${profile}: it needs no shadow`);
  }
  await mkdir(join(root, 'shadow'), { recursive: true });
  await writeAtomically(shadowPath(root, profile), (file) => file.writeFile(bundle.id));
  return bundle;
}

/** Lets no candidate of a profile score any more. */
export async function clearShadow(root: string, profile: string): Promise<void> {
  await rm(shadowPath(root, profile), { force: true });
}

/** The candidate that scores in the shadow of a profile's bundle; none once it was promoted or removed. */
export async function shadowBundle(root: string, profile: string): Promise<string | undefined> {
  const id = await readFile(shadowPath(root, profile), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  });
  if (id === undefined || id === (await promotedBundle(root, profile))) return undefined;
  return (await bundleIDs(root)).includes(id) ? id : undefined;
}
