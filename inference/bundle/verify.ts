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

  const referenceScore = await scoreReference(root, bundle.id);
  const { rawScore, tolerance } = bundle.reference;
  if (!(Math.abs(referenceScore - rawScore) <= tolerance)) {
    throw new Error(
      `bundle ${bundle.id}: its reference image scores ${referenceScore} instead of ${rawScore} ± ${tolerance}`,
    );
  }
  return { referenceScore };
}

async function scoreReference(root: string, id: string): Promise<number> {
  const scorer = await Scorer.open(root, id, { batchSize: 1 });
  try {
    const side = scorer.bundle.model.imageSize;
    const pixels = Buffer.from(scorer.bundle.reference.pixels, 'base64');
    const { value } = await scorer.scoreRaw([{ pixels, rows: side, columns: side }]).next();
    return value!.rawScore;
  } finally {
    await scorer.close();
  }
}
