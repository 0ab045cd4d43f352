import type { Attributes } from '../writing/keyword.ts';
import type { PlaneGeometry } from '../slice.ts';

/** Frame of Reference and Image Plane modules (PS3.3 C.7.4.1, C.7.6.2) and the Patient Orientation they imply. */
export function imagePlane(geometry: PlaneGeometry): Attributes {
  const orientation = geometry.imageOrientationPatient;
  return {
    FrameOfReferenceUID: geometry.frameOfReferenceUID,
    PositionReferenceIndicator: [],
    ImagePositionPatient: geometry.imagePositionPatient,
    ImageOrientationPatient: orientation,
    PixelSpacing: geometry.pixelSpacing,
    PatientOrientation: [direction(orientation.slice(0, 3)), direction(orientation.slice(3))],
  };
}

/** A direction in the patient as letters, the main one first (PS3.3 C.7.6.1.1.1); below 0.02 (1°) none. */
function direction(cosines: readonly number[]): string {
  const letters = ['LR', 'PA', 'HF'];
  return cosines
    .map((cosine, axis) => ({ size: Math.abs(cosine), letter: letters[axis][cosine > 0 ? 0 : 1] }))
    .filter(({ size }) => size > 0.02)
    .sort((a, b) => b.size - a.size)
    .map(({ letter }) => letter)
    .join('');
}
