import { Scorer } from '../scorer.ts';
import { openBundle, weightProblems } from './registry.ts';

/**
 * Checks that a bundle, given by ID or name, still is what it was: `bundle.json` against the ID, weights against
 * their checksums, the score of the reference image against the stored one. Returns that score now; throws,
 * naming all that is wrong.
 */
export async function verifyBundle(root: string, reference: string): Promise<{ referenceScore: number }> {
  const bundle = await openBundle(root, reference);
  const problems = await weightProblems(root, bundle);
  // Weights that are not the bundle's would give a score that says nothing.
  if (problems.length > 0) throw new Error(`bundle ${bundle.id}: ${problems.join('; ')}`);

  const scorer = await Scorer.open(root, bundle.id, { batchSize: 1 });
  await scorer.close();
  return { referenceScore: scorer.referenceScore };
}
