import type { StudyResult } from './result.ts';
import { uidFrom } from './uid.ts';

/**
 * The UID of a part of a result: `kind` says which (an object, a series, a finding), `index` which one of its
 * kind. It depends on the source instances, the bundle, the output settings and the writer's version only,
 * so a retry finds its own objects, and nothing else ever bears their UIDs.
 */
export function resultUid(result: StudyResult, kind: string, ...index: number[]): string {
  const sources = new Set(result.slices.map(({ slice }) => slice.sopInstanceUID));
  return uidFrom([
    ...[...sources].sort(),
    result.algorithm.algorithmVersion,
    result.outputSettings,
    result.algorithm.softwareVersion,
    kind,
    index.join('.'),
  ]);
}
