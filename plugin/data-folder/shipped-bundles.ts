import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { importBundle } from '../../inference/bundle/bundle-archive.ts';
import { bundleIDs, promote, promotedBundle } from '../../inference/bundle/registry.ts';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';

/** Bundles that come with the node, as `bundles export` writes them: `<ID>.tar`. */
export const shippedFolder = join(import.meta.dirname, '../../fixtures/bundles');

/**
 * Adds the bundles that come with the node to a registry that lacks them, and promotes those for whose profile nothing
 * was promoted yet; and the bundle `untrained`.
 */
export async function ensureShippedBundles(root: string): Promise<void> {
  await ensureUntrained(root);
  const present = await bundleIDs(root);
  for (const file of (await readdir(shippedFolder)).filter((name) => name.endsWith('.tar'))) {
    if (present.includes(file.slice(0, -'.tar'.length))) continue;
    const { id, profile } = await importBundle(root, join(shippedFolder, file));
    if ((await promotedBundle(root, profile.name)) === undefined) await promote(root, id);
  }
}
