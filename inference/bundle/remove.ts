import { randomUUID } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleIDs, promotions, readBundle, weightsPath } from './registry.ts';
import { listWeights } from '../weights/store.ts';
import { bundleWeights } from './schema.ts';
import type { Bundle } from './schema.ts';

/**
 * Removes a bundle, given by its whole ID, and those of its weights that no other bundle names and that were not
 * imported on their own. Refuses a bundle that scores for a profile: promote another one first, or roll back.
 */
export async function removeBundle(root: string, id: string): Promise<Bundle> {
  const bundle = await readBundle(root, id);
  const uses = (await promotions(root)).filter((promotion) => promotion.id === id);
  if (uses.length > 0) {
    throw new Error(
      `bundle ${id} scores for ${uses.map(({ profile }) => profile).join(', ')}: promote another one first`,
    );
  }
  const others = (await bundleIDs(root)).filter((other) => other !== id);
  const kept = new Set(
    (await Promise.all(others.map((other) => readBundle(root, other))))
      .flatMap(bundleWeights)
      .map(({ sha256 }) => sha256),
  );
  for (const { sha256 } of await listWeights(root)) kept.add(sha256);
  // It disappears at once, under a name that no ID has; what it alone needed goes afterwards.
  const leaving = join(root, 'bundles', `.${randomUUID()}.tmp`);
  await rename(join(root, 'bundles', id), leaving);
  for (const { sha256 } of bundleWeights(bundle)) {
    if (!kept.has(sha256)) await rm(weightsPath(root, sha256), { force: true });
  }
  await rm(leaving, { recursive: true });
  return bundle;
}
