import type { DicomJson } from './dicom-json.ts';
import { frameAttributes, hasFunctionalGroups } from './functional-groups.ts';
import { itemsOf, numberOf, numbersOf, stringOf } from './reading/attribute.ts';
import type { PlaneGeometry } from './slice.ts';

/** How far a direction cosine's length, or the cosine between row and column, may be off. */
const tolerance = 1e-3;

/**
 * The image plane of one frame (PS3.3 C.7.6.2), or undefined where the object does not state one completely:
 * without position, orientation, spacing or frame of reference, with a degenerate orientation, or a classic
 * multi-frame object, whose one position does not hold for all frames; except for reconstructed NM volumes, which
 * say how their frames follow on the first.
 *
 * @param frame counted from 1
 */
export function planeGeometry(dataset: DicomJson, frame: number): PlaneGeometry | undefined {
  const classic = (numberOf(dataset, '00280008') ?? 1) > 1 && !hasFunctionalGroups(dataset);
  const attributes = classic ? reconstructedFrame(dataset, frame) : frameAttributes(dataset, frame);
  const frameOfReferenceUID = stringOf(attributes, '00200052');
  const position = numbersOf(attributes, '00200032');
  const orientation = numbersOf(attributes, '00200037');
  const spacing = numbersOf(attributes, '00280030');
  if (frameOfReferenceUID === undefined || position.length !== 3 || orientation.length !== 6)
    return undefined;
  if (spacing.length !== 2 || spacing.some((distance) => distance <= 0)) return undefined;
  const [row, column] = [orientation.slice(0, 3), orientation.slice(3)];
  if (Math.abs(dot(row, row) - 1) > tolerance || Math.abs(dot(column, column) - 1) > tolerance)
    return undefined;
  if (Math.abs(dot(row, column)) > tolerance) return undefined;
  return {
    frameOfReferenceUID,
    imagePositionPatient: position as PlaneGeometry['imagePositionPatient'],
    imageOrientationPatient: orientation as PlaneGeometry['imageOrientationPatient'],
    pixelSpacing: spacing as PlaneGeometry['pixelSpacing'],
  };
}

/**
 * The plane attributes of a frame of a reconstructed NM image (PS3.3 C.8.4.11, C.8.4.15): those of the first slice,
 * moved along its normal. None for other objects.
 */
function reconstructedFrame(dataset: DicomJson, frame: number): DicomJson {
  const [first] = itemsOf(dataset, '00540022');
  const slice = numbersOf(dataset, '00540080').at(frame - 1);
  const distance = numberOf(dataset, '00180088');
  const [position, orientation] = first
    ? [numbersOf(first, '00200032'), numbersOf(first, '00200037')]
    : [[], []];
  if (slice === undefined || distance === undefined || orientation.length !== 6) return {};
  const normal = normalOf(orientation);
  const moved = position.map((x, i) => x + (slice - 1) * distance * normal[i]);
  return { ...dataset, ...first, '00200032': { vr: 'DS', Value: moved } };
}

/** Distance of the plane from the origin along its normal (row × column), in millimetres. */
export function positionAlongNormal({
  imagePositionPatient,
  imageOrientationPatient,
}: PlaneGeometry): number {
  return dot(imagePositionPatient, normalOf(imageOrientationPatient));
}

/** Row × column of an Image Orientation (Patient). */
export function normalOf([a, b, c, d, e, f]: readonly number[]): [number, number, number] {
  return [b * f - c * e, c * d - a * f, a * e - b * d];
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * b[i], 0);
