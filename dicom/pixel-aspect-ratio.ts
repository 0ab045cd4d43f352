import type { DicomJson } from './dicom-json.ts';
import { numbersOf } from './reading/attribute.ts';

/** Pixel Spacing, Imager Pixel Spacing, Pixel Aspect Ratio; of each the vertical value is first. */
const tags = ['00280030', '00181164', '00280034'];

/** No scanner's pixels are longer: such values are taken for wrong. */
const longest = 16;

/**
 * The height of a frame's pixels in widths of theirs (PS3.3 C.7.6.3.1.7); 1 where its attributes say nothing that
 * can be.
 */
export function pixelAspectRatio(attributes: DicomJson): number {
  for (const tag of tags) {
    const [height, width] = numbersOf(attributes, tag);
    const ratio = height / width;
    if (ratio >= 1 / longest && ratio <= longest) return ratio;
  }
  return 1;
}
