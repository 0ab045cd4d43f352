import type { DicomJson } from './dicom-json.ts';
import { stringOf } from './reading/attribute.ts';

export type MrContrast = 'T1' | 'T2' | 'FLAIR';

/** Acquisition Contrast (PS3.3 C.8.13.3.1) of enhanced objects. */
const acquisitionContrasts: Record<string, MrContrast> = { T1: 'T1', T2: 'T2', FLUID_ATTENUATED: 'FLAIR' };

/** What descriptions call a contrast, the most telling first; `undefined`: it is none of those above. */
const descriptions: [RegExp, MrContrast | undefined][] = [
  [/dwi|diff|adc|dti|swi|t2\s*\*|t2star|tof|angio|perf|bold|fmri|stir|\bpd\b/i, undefined],
  [/t1.*flair|flair.*t1|t1w?_?dark.?fluid/i, 'T1'],
  [/flair|dark.?fluid/i, 'FLAIR'],
  [/t1|mprage|spgr|bravo/i, 'T1'],
  [/t2/i, 'T2'],
];

/**
 * The contrast of an MR image: as enhanced objects state it, else as Series Description or Protocol Name call it,
 * else as the times of a spin echo make it (in ms: FLAIR has TI from 1500 and TE from 70, T2 no inversion and TE
 * from 70, T1 TR to 1000 and TE to 30). Undefined where it is another one, or unknown.
 *
 * @param attributes of the frame, see `frameAttributes`
 */
export function mrContrast(attributes: DicomJson): MrContrast | undefined {
  const stated = stringOf(attributes, '00089209');
  if (stated !== undefined && stated !== 'UNKNOWN') return acquisitionContrasts[stated];
  for (const tag of ['0008103E', '00181030']) {
    const text = stringOf(attributes, tag) ?? '';
    const named = descriptions.find(([pattern]) => pattern.test(text));
    if (named) return named[1];
  }
  // NaN where the time is missing or malformed: it decides nothing.
  const [repetition, echo, inversion] = ['00180080', '00180081', '00180082'].map((tag) =>
    Number(attributes[tag]?.Value?.[0]),
  );
  if (echo >= 70 && inversion >= 1500) return 'FLAIR';
  const inverted = inversion > 0;
  if (echo >= 70 && repetition >= 2000 && !inverted) return 'T2';
  return echo <= 30 && repetition <= 1000 && !inverted ? 'T1' : undefined;
}
