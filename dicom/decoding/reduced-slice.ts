import { frameAttributes } from '../functional-groups.ts';
import type { Instance } from '../reading/part10.ts';
import { DicomError } from '../reading/dicom-error.ts';
import { decodeFrame } from './frame.ts';
import { paddingTest } from './grey-slice.ts';
import { modalityTransform } from './modality-lut.ts';
import { storedValues } from './samples.ts';

/** A frame's values after the modality LUT at a lower resolution. */
export interface ReducedSlice {
  rows: number;
  columns: number;
  /** rows × columns means of blocks, row-major; NaN where all of a block is padding. */
  pixels: Float32Array;
}

/**
 * The means of blocks of `factor` × `factor` pixels of a frame; what is left at its right and lower edge is
 * dropped.
 *
 * @param frame counted from 1
 * @throws DicomError `colour` where the frame is not grey
 */
export async function reducedSlice(instance: Instance, frame: number, factor: number): Promise<ReducedSlice> {
  const decoded = await decodeFrame(instance, frame);
  if (decoded.samplesPerPixel !== 1)
    throw new DicomError('colour', `the frame is ${decoded.photometricInterpretation}`, { tag: '00280004' });
  const attributes = frameAttributes(instance.header.dataset, frame);
  const modality = modalityTransform(attributes);
  const isPadding = paddingTest(attributes, decoded);
  const stored = storedValues(decoded);
  const [rows, columns] = [decoded.rows, decoded.columns].map((length) => Math.floor(length / factor));
  const pixels = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let [sum, count] = [0, 0];
      for (let y = row * factor; y < (row + 1) * factor; y++) {
        for (let x = column * factor; x < (column + 1) * factor; x++) {
          const value = stored[y * decoded.columns + x];
          if (isPadding(value)) continue;
          sum += modality(value);
          count += 1;
        }
      }
      pixels[row * columns + column] = sum / count;
    }
  }
  return { rows, columns, pixels };
}
