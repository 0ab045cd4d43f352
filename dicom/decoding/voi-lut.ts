import type { DicomJson } from '../dicom-json.ts';
import { itemsOf, numberOf, stringOf } from '../reading/attribute.ts';
import { DicomError } from '../reading/dicom-error.ts';
import { lookUp, lookupTable } from './modality-lut.ts';

/** Window Center and Width, in units after the modality LUT. */
export interface Window {
  center: number;
  width: number;
  /** LINEAR if left out. */
  voiLutFunction?: VoiLutFunction;
}

/** VOI LUT Function (0028,1056). */
export type VoiLutFunction = 'LINEAR' | 'LINEAR_EXACT' | 'SIGMOID';

/** From a value after the modality LUT to display, 0 (lowest) to 1. */
export type VoiTransform = (value: number) => number;

/**
 * The window functions of PS3.3 C.11.2.1.2, with an output range of 0 to 1.
 *
 * @throws DicomError for a width that the function does not allow
 */
export function windowTransform({ center, width, voiLutFunction = 'LINEAR' }: Window): VoiTransform {
  if (!(width > 0) || (voiLutFunction === 'LINEAR' && width < 1))
    throw new DicomError('malformed', `Window Width ${width} for ${voiLutFunction}`, { tag: '00281051' });
  switch (voiLutFunction) {
    case 'LINEAR':
      return (x) => {
        if (x <= center - 0.5 - (width - 1) / 2) return 0;
        if (x > center - 0.5 + (width - 1) / 2) return 1;
        return (x - (center - 0.5)) / (width - 1) + 0.5;
      };
    case 'LINEAR_EXACT':
      return (x) => {
        if (x <= center - width / 2) return 0;
        if (x > center + width / 2) return 1;
        return (x - center) / width + 0.5;
      };
    case 'SIGMOID':
      return (x) => 1 / (1 + Math.exp((-4 * (x - center)) / width));
  }
}

/**
 * The VOI transform of a data set: its first VOI LUT, else its first window. Undefined where it has neither.
 *
 * @param attributes with the frame's functional groups, see `frameAttributes`
 */
export function voiTransform(attributes: DicomJson): VoiTransform | undefined {
  const item = itemsOf(attributes, '00283010').at(0);
  if (item) {
    const table = lookupTable(item);
    const highest = 2 ** table.bits - 1;
    return (value) => lookUp(table, value) / highest;
  }
  const center = numberOf(attributes, '00281050');
  const width = numberOf(attributes, '00281051');
  if (center === undefined || width === undefined) return undefined;
  return windowTransform({ center, width, voiLutFunction: voiLutFunction(attributes) });
}

function voiLutFunction(attributes: DicomJson): VoiLutFunction {
  const name = stringOf(attributes, '00281056') ?? 'LINEAR';
  if (name !== 'LINEAR' && name !== 'LINEAR_EXACT' && name !== 'SIGMOID')
    throw new DicomError('unsupported', 'VOI LUT Function is none of PS3.3 C.11.2.1.3', { tag: '00281056' });
  return name;
}
