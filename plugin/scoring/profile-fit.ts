import type { DicomJson } from '../../dicom/dicom-json.ts';
import { mrContrast } from '../../dicom/mr-contrast.ts';
import { normalOf } from '../../dicom/plane-geometry.ts';
import { stringOf } from '../../dicom/reading/attribute.ts';
import type { PlaneGeometry } from '../../dicom/slice.ts';
import { viewPosition } from '../../dicom/view-position.ts';
import type { Profile } from '../../inference/bundle/profiles.ts';

/** Whether a stack is what a profile scores; `may`: nothing says that it is not. */
export type ProfileFit = { fits: 'yes' | 'may' } | { fits: 'no'; reason: string };

/** The anatomical plane that an image lies in or nearest to. */
export function anatomicalPlane({
  imageOrientationPatient,
}: PlaneGeometry): 'sagittal' | 'coronal' | 'axial' {
  const [x, y, z] = normalOf(imageOrientationPatient).map(Math.abs);
  if (x > y && x > z) return 'sagittal';
  return y > z ? 'coronal' : 'axial';
}

/**
 * Whether images are such as a profile scores.
 *
 * @param attributes of one of them, see `frameAttributes`
 */
export function profileFit(
  { modalities, bodyParts, planes, contrast, views }: NonNullable<Profile['series']>,
  attributes: DicomJson,
  geometry: PlaneGeometry | undefined,
): ProfileFit {
  const no = (reason: string): ProfileFit => ({ fits: 'no', reason });
  const modality = stringOf(attributes, '00080060') ?? 'unknown';
  if (modalities && !modalities.includes(modality)) return no(`modality ${modality}, not ${or(modalities)}`);
  const bodyPart = stringOf(attributes, '00180015')
    ?.toUpperCase()
    .replaceAll(/[^A-Z]/g, '');
  if (bodyParts && bodyPart && !bodyParts.includes(bodyPart)) {
    return no(`body part ${bodyPart}, not ${or(bodyParts)}`);
  }
  if (planes) {
    const plane = geometry ? anatomicalPlane(geometry) : 'unknown';
    if (!planes.some((wanted) => wanted === plane)) return no(`plane ${plane}, not ${or(planes)}`);
  }
  if (contrast) {
    const actual = mrContrast(attributes) ?? 'another or unknown';
    if (actual !== contrast) return no(`contrast ${actual}, not ${contrast}`);
  }
  if (!views) return { fits: 'yes' };
  const view = viewPosition(attributes);
  if (view === undefined) return { fits: 'may' };
  return views.includes(view) ? { fits: 'yes' } : no(`view ${view}, not ${or(views)}`);
}

const or = (values: readonly string[]): string => values.join(' or ');
