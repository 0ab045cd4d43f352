import type { DicomJson } from './dicom-json.ts';
import { itemsOf, stringOf } from './reading/attribute.ts';

/** What View Code Sequence calls the views of a chest (PS3.16 CID 4010), as View Position writes them. */
const views: [RegExp, string][] = [
  [/postero-?anterior/i, 'PA'],
  [/antero-?posterior/i, 'AP'],
  [/left lateral/i, 'LL'],
  [/right lateral/i, 'RL'],
];

/** View Position (0018,5101) of a projection, else what its View Code Sequence says; undefined where neither does. */
export function viewPosition(attributes: DicomJson): string | undefined {
  const stated = stringOf(attributes, '00185101');
  if (stated) return stated.toUpperCase();
  const meaning = itemsOf(attributes, '00540220').map((item) => stringOf(item, '00080104') ?? '')[0] ?? '';
  return views.find(([pattern]) => pattern.test(meaning))?.[1];
}
