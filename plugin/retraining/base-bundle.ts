import { bundleIDs, openBundle, promotedBundle } from '../../inference/bundle/registry.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import type { RetrainingRequest } from './request.ts';

/**
 * The bundle that gives a retraining model and frozen weights: the one that is asked for, else the one that is promoted
 * for the profile, else the one that has the profile's name. Throws if there is none.
 */
export async function baseBundle(
  root: string,
  { bundle, profile }: Pick<RetrainingRequest, 'bundle' | 'profile'>,
): Promise<Bundle> {
  const promoted = await promotedBundle(root, profile);
  if (bundle !== undefined || promoted !== undefined) return openBundle(root, bundle ?? promoted!);
  const ids = await bundleIDs(root);
  if (ids.some((id) => id.startsWith(`${profile}@`))) return openBundle(root, profile);
  throw new Error(
    `no bundle is promoted for ${profile}: name one (--bundle), of these: ${ids.join(', ') || 'none'}`,
  );
}
