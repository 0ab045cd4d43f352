import { importBundle } from './bundle-archive.ts';
import { bundleIDs } from './registry.ts';
import { removeBundle } from './remove.ts';
import type { Bundle } from './schema.ts';
import { verifyBundle } from './verify.ts';

/**
 * Adds the bundle of an exported file if its reference input scores here as recorded. Throws otherwise, and leaves
 * nothing behind that was not there before.
 */
export async function importVerifiedBundle(root: string, path: string): Promise<Bundle> {
  const before = await bundleIDs(root);
  const bundle = await importBundle(root, path);
  try {
    await verifyBundle(root, bundle.id);
  } catch (error) {
    if (!before.includes(bundle.id)) await removeBundle(root, bundle.id);
    throw error;
  }
  return bundle;
}
