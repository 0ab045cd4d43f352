import type { DicomJson } from './dicom-json.ts';
import { itemsOf } from './reading/attribute.ts';

/**
 * Functional groups whose attributes are those of the classic modules, or tell one stack of frames from another
 * (PS3.3 C.7.6.16.2, C.8.13.5, C.8.15.3, C.7.6.16.2.24, .25): what legacy objects were converted with, Frame
 * Content, Plane Position, Plane Orientation, Pixel Measures, Pixel Value Transformation, Frame VOI LUT, Cardiac
 * Synchronization; MR Image Frame Type, MR Echo, MR Diffusion, MR Modifier; CT Image Frame Type, CT Reconstruction.
 */
const groups = [
  ...[
    '00209170',
    '00209171',
    '00209111',
    '00209113',
    '00209116',
    '00289110',
    '00289145',
    '00289132',
    '00189118',
  ],
  ...['00189226', '00189114', '00189117', '00189115', '00189329', '00189314'],
];

/**
 * The attributes that hold for one frame: those of the data set, overlaid with the shared and then the frame's
 * own functional groups. For a classic image, the data set itself.
 *
 * @param frame counted from 1
 */
export function frameAttributes(dataset: DicomJson, frame: number): DicomJson {
  const shared = itemsOf(dataset, '52009229').at(0);
  const own = itemsOf(dataset, '52009230').at(frame - 1);
  if (!shared && !own) return dataset;
  const attributes = { ...dataset };
  for (const item of [shared, own]) {
    for (const group of groups) Object.assign(attributes, item && itemsOf(item, group).at(0));
  }
  return attributes;
}

/** Whether the frames of a multi-frame object tell their own position. */
export const hasFunctionalGroups = (dataset: DicomJson): boolean => itemsOf(dataset, '52009230').length > 0;
