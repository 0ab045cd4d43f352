import type { ResultContext } from '../result.ts';
import { uidFrom } from '../uid.ts';

/**
 * The UID of a part of a result: `kind` says which (an object, a series, a finding), `index` which one of its
 * kind. It depends on the source instances, the bundle, the output settings and the writer's version only,
 * so a retry finds its own objects, and nothing else ever bears their UIDs.
 */
export function resultUid(result: ResultContext, kind: string, ...index: number[]): string {
  return uidFrom([...identity(result), kind, index.join('.')]);
}

/** Stands for a whole result: two of the same identity have the same UIDs. */
export function resultIdentity(result: ResultContext): string {
  return uidFrom(identity(result));
}

function identity({ sourceUIDs, algorithm, outputSettings }: ResultContext): string[] {
  return [
    ...[...new Set(sourceUIDs)].sort(),
    algorithm.algorithmVersion,
    outputSettings,
    algorithm.softwareVersion,
  ];
}
