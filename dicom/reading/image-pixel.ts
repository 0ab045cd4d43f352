import type { DicomJson } from '../dicom-json.ts';
import { numberOf, stringOf } from './attribute.ts';
import { DicomError } from './dicom-error.ts';

/** The Image Pixel module (PS3.3 C.7.6.3), checked. */
export interface ImagePixel {
  rows: number;
  columns: number;
  samplesPerPixel: number;
  bitsAllocated: number;
  bitsStored: number;
  highBit: number;
  signed: boolean;
  /** Samples of a pixel in planes (PlanarConfiguration 1) rather than side by side. */
  planar: boolean;
  photometricInterpretation: string;
}

/**
 * The Image Pixel module of a data set.
 *
 * @param pixelDataTag Float and Double Float Pixel Data have no Bits Stored, High Bit and Pixel Representation
 * @throws DicomError where an attribute is missing or contradicts another
 */
export function imagePixel(dataset: DicomJson, pixelDataTag: string): ImagePixel {
  const required = (tag: string, name: string, least: number, most: number): number => {
    const value = numberOf(dataset, tag);
    if (value === undefined) throw new DicomError('malformed', `${name} is missing`, { tag });
    if (!Number.isInteger(value) || value < least || value > most)
      throw new DicomError('malformed', `${name} ${value} is not in ${least} to ${most}`, { tag });
    return value;
  };
  const rows = required('00280010', 'Rows', 1, 65535);
  const columns = required('00280011', 'Columns', 1, 65535);
  const samplesPerPixel = required('00280002', 'Samples per Pixel', 1, 4);
  const bitsAllocated = required('00280100', 'Bits Allocated', 1, 64);
  const float = pixelDataTag !== '7FE00010';
  const bitsStored = float ? bitsAllocated : required('00280101', 'Bits Stored', 1, bitsAllocated);
  const highBit = float
    ? bitsAllocated - 1
    : required('00280102', 'High Bit', bitsStored - 1, bitsAllocated - 1);
  const photometricInterpretation = stringOf(dataset, '00280004');
  if (photometricInterpretation === undefined)
    throw new DicomError('malformed', 'Photometric Interpretation is missing', { tag: '00280004' });
  return {
    rows,
    columns,
    samplesPerPixel,
    bitsAllocated,
    bitsStored,
    highBit,
    signed: !float && required('00280103', 'Pixel Representation', 0, 1) === 1,
    planar: samplesPerPixel > 1 && numberOf(dataset, '00280006') === 1,
    photometricInterpretation,
  };
}

/** Whether two pixels stand in four samples where the frame is native (PS3.3 C.7.6.3.1.2). */
export const halvesChroma = (photometric: string): boolean => /^YBR_(FULL|PARTIAL)_422$/.test(photometric);

/**
 * Bits of one frame; of a native one as it is `stored`, or decoded. Frames follow each other without padding: those
 * of single bits may start within a byte.
 */
export function frameBits(
  image: Pick<
    ImagePixel,
    'rows' | 'columns' | 'samplesPerPixel' | 'bitsAllocated' | 'photometricInterpretation'
  >,
  stored: boolean,
): number {
  const samples =
    stored && halvesChroma(image.photometricInterpretation) && image.samplesPerPixel === 3
      ? 2
      : image.samplesPerPixel;
  return image.rows * image.columns * samples * image.bitsAllocated;
}
