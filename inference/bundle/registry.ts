import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { writeAtomically } from '../atomic-file.ts';
import { hashFile } from '../file-hash.ts';
import { FolderLockedError, lockFolder } from '../folder-lock.ts';
import type { MountedWeights } from '../model/parameters.ts';
import { openSafetensors, writeSafetensors } from '../safetensors.ts';
import type { TensorValues } from '../safetensors.ts';
import { bundleWeights, calibrationOf, manifestSchema, nameSchema } from './schema.ts';
import type { Bundle, BundleWeights, Manifest } from './schema.ts';

/*
 * Files under a registry's root:
 *   bundles/<ID>/bundle.json       what decides a score
 *   weights/<sha256>.safetensors   shared by bundles
 *   promoted/<profile>             IDs, a line each, in the order of their promotion: the last one scores for
 *                                  the profile, and a rollback takes it away
 * All of them appear complete or not at all.
 */

/** How long it is waited for another promotion to end: it takes no time. */
const lockMs = 30_000;

const ID = /^([a-z0-9-]+)@[0-9a-f]{12}$/;

/** Where a registry's weights lie. */
export const weightsFolder = (root: string) => join(root, 'weights');

/** The ID that these bytes of a `bundle.json` have. */
export function manifestID(name: string, bytes: Uint8Array): string {
  return `${name}@${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}`;
}

/** The IDs of all bundles, sorted. */
export async function bundleIDs(root: string): Promise<string[]> {
  const names = await readdir(join(root, 'bundles')).catch((error: unknown) => {
    ifMissing(error);
    return [];
  });
  return names.filter((name) => ID.test(name)).sort();
}

/** All bundles, sorted by ID, and whether each scores for its profile. Throws if one of them is damaged. */
export async function listBundles(root: string): Promise<{ bundle: Bundle; promoted: boolean }[]> {
  const promoted = new Set((await promotions(root)).map(({ id }) => id));
  const bundles = await Promise.all((await bundleIDs(root)).map((id) => readBundle(root, id)));
  return bundles.map((bundle) => ({ bundle, promoted: promoted.has(bundle.id) }));
}

/**
 * The ID that a reference means: an ID itself, or a bare name: the promoted bundle of that name, else the only
 * one. Throws if there is none, or several.
 */
export async function bundleID(root: string, reference: string): Promise<string> {
  const ids = await bundleIDs(root);
  if (ids.includes(reference)) return reference;
  const named = ids.filter((id) => ID.exec(id)![1] === reference);
  const promoted = (await promotions(root)).filter(({ id }) => named.includes(id)).map(({ id }) => id);
  const candidates = promoted.length > 0 ? [...new Set(promoted)] : named;
  if (candidates.length === 1) return candidates[0];
  if (candidates.length > 1) {
    throw new Error(`several bundles are named ${reference}: give one of ${candidates.join(', ')}`);
  }
  throw new Error(`no bundle ${reference}; there are: ${ids.join(', ') || 'none'}`);
}

/** Opens a bundle by ID or name. Throws if there is no such bundle, or it is not what its ID says. */
export async function openBundle(root: string, reference: string): Promise<Bundle> {
  return readBundle(root, await bundleID(root, reference));
}

/** Adds a bundle; one that is there already is left as it is. Its weights must have been added before. */
export async function addBundle(root: string, manifest: Manifest): Promise<Bundle> {
  const checked = manifestSchema.parse(manifest);
  for (const { sha256, bytes } of bundleWeights(checked)) await expectSize(root, sha256, bytes);
  const json = Buffer.from(`${JSON.stringify(checked, null, 1)}\n`);
  return storeManifest(root, manifestID(checked.name, json), json);
}

/** Adds a bundle by the bytes of its `bundle.json`, of which `id` is the ID. Its weights must be there. */
export async function storeManifest(root: string, id: string, json: Uint8Array): Promise<Bundle> {
  const folder = join(root, 'bundles');
  const temporary = join(folder, `.${randomUUID()}.tmp`);
  await mkdir(temporary, { recursive: true });
  try {
    await writeAtomically(join(temporary, 'bundle.json'), (file) => file.writeFile(json));
    await rename(temporary, join(folder, id));
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    // Its ID is the hash of its content: who came first wrote the same.
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  return readBundle(root, id);
}

/** Stores weights under the hash of their file. */
export async function addWeights(
  root: string,
  prefix: string,
  tensors: ReadonlyMap<string, TensorValues>,
): Promise<BundleWeights> {
  const folder = weightsFolder(root);
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${randomUUID()}.tmp`);
  await writeSafetensors(temporary, tensors);
  const sha256 = await hashFile(temporary);
  const { size } = await stat(temporary);
  await rename(temporary, weightsPath(root, sha256));
  return { prefix, sha256, bytes: size };
}

/** Makes a bundle the one that scores for its profile, from one job to the next. Throws if it is not calibrated. */
export async function promote(root: string, reference: string): Promise<Bundle> {
  const bundle = await openBundle(root, reference);
  calibrationOf(bundle);
  const profile = bundle.profile.name;
  await alone(root, async () => {
    const history = await promotionHistory(root, profile);
    if (history.at(-1) !== bundle.id) await writeHistory(root, profile, [...history, bundle.id]);
  });
  return bundle;
}

/**
 * Promotes a bundle if `present` scores for its profile still, or nothing where that is undefined. Returns whether the
 * bundle scores then. Throws if it is not calibrated.
 */
export async function promoteAfter(
  root: string,
  reference: string,
  present: string | undefined,
): Promise<boolean> {
  const bundle = await openBundle(root, reference);
  calibrationOf(bundle);
  const profile = bundle.profile.name;
  return alone(root, async () => {
    const history = await promotionHistory(root, profile);
    if (history.at(-1) === bundle.id) return true;
    if (history.at(-1) !== present) return false;
    await writeHistory(root, profile, [...history, bundle.id]);
    return true;
  });
}

/**
 * Makes the bundle that was promoted before the present one score for a profile again; bundles that were removed
 * since are passed over. Throws if there is none.
 */
export async function rollback(root: string, profile: string): Promise<Bundle> {
  const ids = await bundleIDs(root);
  return alone(root, async () => {
    const history = await promotionHistory(root, profile);
    const present = history.at(-1);
    const earlier = history.filter((id) => id !== present && ids.includes(id));
    if (earlier.length === 0)
      throw new Error(`no bundle was promoted for ${profile} before ${present ?? 'now'}`);
    const bundle = await readBundle(root, earlier.at(-1)!);
    await writeHistory(root, profile, earlier);
    return bundle;
  });
}

/** Does what nobody else may do in this registry at the same time, in this process or in another. */
async function alone<T>(root: string, work: () => Promise<T>): Promise<T> {
  const folder = join(root, 'bundles');
  await mkdir(folder, { recursive: true });
  const deadline = Date.now() + lockMs;
  for (;;) {
    const lock = await lockFolder(folder).catch((error: unknown) => {
      if (!(error instanceof FolderLockedError) || Date.now() > deadline) throw error;
      return undefined;
    });
    if (!lock) {
      await sleep(20);
      continue;
    }
    try {
      return await work();
    } finally {
      lock.release();
    }
  }
}

async function writeHistory(root: string, profile: string, ids: readonly string[]): Promise<void> {
  await mkdir(join(root, 'promoted'), { recursive: true });
  await writeAtomically(join(root, 'promoted', profile), (file) =>
    file.writeFile(ids.map((id) => `${id}\n`).join('')),
  );
}

/** The IDs of the bundles promoted for a profile, in that order and without what was rolled back. */
export async function promotionHistory(root: string, profile: string): Promise<string[]> {
  const path = join(root, 'promoted', nameSchema.parse(profile));
  const lines = await readFile(path, 'utf8').catch((error: unknown) => {
    ifMissing(error);
    return '';
  });
  return lines.split('\n').filter((line) => line !== '');
}

/** The ID of the bundle that scores for a profile, if one was promoted. */
export async function promotedBundle(root: string, profile: string): Promise<string | undefined> {
  return (await promotionHistory(root, profile)).at(-1);
}

/** The promoted bundle of every profile that has one. */
export async function promotions(root: string): Promise<{ profile: string; id: string }[]> {
  const files = await readdir(join(root, 'promoted')).catch((error: unknown) => {
    ifMissing(error);
    return [];
  });
  const profiles = files.filter((name) => nameSchema.safeParse(name).success).sort();
  return Promise.all(
    profiles.map(async (profile) => ({ profile, id: (await promotedBundle(root, profile))! })),
  );
}

/** The weight files that one head of a bundle runs on. Throws if one is missing or has another size. */
export async function mountWeights(
  root: string,
  bundle: Pick<Manifest, 'weights' | 'heads'>,
  head = 0,
): Promise<MountedWeights[]> {
  const files = [...bundle.weights, ...bundle.heads[head].weights];
  return Promise.all(
    files.map(async ({ prefix, sha256, bytes }) => {
      await expectSize(root, sha256, bytes);
      const file = await openSafetensors(weightsPath(root, sha256));
      return { prefix, file, location: `${sha256}.safetensors` };
    }),
  );
}

/** What is wrong with the bytes of a bundle's weight files: nothing, if they are what `bundle.json` says. */
export async function weightProblems(root: string, bundle: Manifest): Promise<string[]> {
  const problems = await Promise.all(
    bundleWeights(bundle).map(async ({ sha256, bytes }) => {
      try {
        await expectSize(root, sha256, bytes);
      } catch (error) {
        return (error as Error).message;
      }
      const actual = await hashFile(weightsPath(root, sha256));
      return actual === sha256 ? [] : `weights ${sha256} are damaged: their SHA-256 is ${actual}`;
    }),
  );
  return problems.flat();
}

/** Opens a bundle by its ID. Throws if there is no such bundle, or it is not what its ID says. */
export async function readBundle(root: string, id: string): Promise<Bundle> {
  if (!ID.test(id)) throw new Error(`${id} is not the ID of a bundle`);
  return parseBundle(id, await readFile(join(root, 'bundles', id, 'bundle.json')));
}

/** Reads the bytes of a `bundle.json`. Throws if they are not what the ID says, or not valid. */
export function parseBundle(id: string, bytes: Uint8Array): Bundle {
  const name = ID.exec(id)?.[1];
  if (name === undefined) throw new Error(`${id} is not the ID of a bundle`);
  const actual = manifestID(name, bytes);
  if (actual !== id) throw new Error(`bundle ${id} was changed: its bundle.json has the ID ${actual}`);
  let content: unknown;
  try {
    content = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw new Error(`bundle ${id}: bundle.json is not JSON`, { cause: error });
  }
  const parsed = manifestSchema.safeParse(content);
  if (!parsed.success) throw new Error(`bundle ${id}: ${z.prettifyError(parsed.error)}`);
  if (parsed.data.name !== name) throw new Error(`bundle ${id} calls itself ${parsed.data.name}`);
  return { ...parsed.data, id };
}

/** Where weights of this hash lie. */
export function weightsPath(root: string, sha256: string): string {
  return join(weightsFolder(root), `${sha256}.safetensors`);
}

async function expectSize(root: string, sha256: string, bytes: number): Promise<void> {
  const file = await stat(weightsPath(root, sha256)).catch((error: unknown) => {
    ifMissing(error);
    return undefined;
  });
  if (!file) throw new Error(`weights ${sha256} are missing`);
  if (file.size !== bytes) {
    throw new Error(`weights ${sha256} are damaged: ${file.size} bytes instead of ${bytes}`);
  }
}

/** Throws every error but that what was looked for does not exist. */
function ifMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}
