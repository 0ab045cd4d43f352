import type { DicomJson } from './dicom-json.ts';
import { frameAttributes } from './functional-groups.ts';
import { planeGeometry, positionAlongNormal } from './plane-geometry.ts';
import { itemsOf, numberOf, stringOf, stringsOf } from './reading/attribute.ts';
import type { InstanceHeader } from './reading/part10.ts';

/** One slice of a series: a frame (counted from 1) of the header at `index`. */
export interface SeriesSlice {
  index: number;
  frame: number;
  /** Along the slice normal, in millimetres, where the series has geometry. */
  position?: number;
}

/** The slices of a series in order, or the reason why it is no stack of grey planes. */
export type OrderedSeries = { slices: SeriesSlice[] } | { reason: string };

/** Modalities whose objects may hold pixels but are no images to score. */
const resultModalities = new Set(['SR', 'SEG', 'PR', 'KO', 'REG', 'RTSTRUCT', 'RTPLAN', 'RTDOSE', 'DOC']);
/** Largest difference of a direction cosine within a series. */
const orientationTolerance = 1e-3;

/**
 * Decides whether the instances of one series are a stack of grey planes of one size and orientation, and orders
 * their frames: by position along the normal, else by Instance Number and frame.
 *
 * @param headers the instances of one series, in any order
 */
export function orderSeries(headers: readonly InstanceHeader[]): OrderedSeries {
  if (headers.length === 0) return { reason: 'the series is empty' };
  for (const header of headers) {
    const reason = unsuitable(header);
    if (reason !== undefined) return { reason };
  }
  const slices = headers.flatMap((header, index) =>
    Array.from({ length: header.numberOfFrames }, (_, i) => ({ index, frame: i + 1 })),
  );
  const first = headers[0].dataset;
  for (const { dataset } of headers) {
    if (['00280010', '00280011'].some((tag) => numberOf(dataset, tag) !== numberOf(first, tag)))
      return { reason: 'rows or columns differ within the series' };
  }
  const geometries = slices.flatMap(({ index, frame }) => planeGeometry(headers[index].dataset, frame) ?? []);
  if (geometries.length < slices.length) return { slices: byInstanceNumber(headers, slices) };
  const orientation = geometries[0].imageOrientationPatient;
  for (const geometry of geometries) {
    const differs = geometry.imageOrientationPatient.some(
      (cosine, i) => Math.abs(cosine - orientation[i]) > orientationTolerance,
    );
    if (differs) return { reason: 'orientation differs within the series' };
    if (geometry.frameOfReferenceUID !== geometries[0].frameOfReferenceUID)
      return { reason: 'frame of reference differs within the series' };
  }
  // One normal for all: the tolerance must not tilt the order.
  const positioned = slices.map((slice, i) => ({
    ...slice,
    position: positionAlongNormal({ ...geometries[i], imageOrientationPatient: orientation }),
  }));
  // Planes at one position (phases, echoes) keep the order of their numbers.
  return { slices: byInstanceNumber(headers, positioned).sort((a, b) => a.position - b.position) };
}

function unsuitable({ dataset, hasPixelData }: InstanceHeader): string | undefined {
  const modality = stringOf(dataset, '00080060');
  if (modality !== undefined && resultModalities.has(modality)) return `modality ${modality} holds no images`;
  if (!hasPixelData) return 'an instance has no pixel data';
  if (numberOf(dataset, '00280002') !== 1 || !/^MONOCHROME[12]$/.test(stringOf(dataset, '00280004') ?? ''))
    return 'an instance is not grey';
  if (imageTypes(dataset).some((values) => values.includes('LOCALIZER'))) return 'an instance is a localizer';
  return undefined;
}

/** Image Type, and Frame Type of enhanced objects. */
function imageTypes(dataset: DicomJson): string[][] {
  const frameTypes = ['00189226', '00189329'].map((group) =>
    itemsOf(itemsOf(dataset, '52009229').at(0) ?? {}, group).flatMap((item) => stringsOf(item, '00089007')),
  );
  return [stringsOf(dataset, '00080008'), ...frameTypes];
}

function byInstanceNumber<S extends SeriesSlice>(
  headers: readonly InstanceHeader[],
  slices: readonly S[],
): S[] {
  const keyed = slices.map((slice) => {
    const { dataset } = headers[slice.index];
    const inStack = numberOf(frameAttributes(dataset, slice.frame), '00209057');
    // A malformed Instance Number must not keep an image from being scored: it counts as none.
    const instance = Number(dataset['00200013']?.Value?.[0]) || 0;
    return { slice, instance, frame: inStack ?? slice.frame };
  });
  keyed.sort((a, b) => a.instance - b.instance || a.frame - b.frame || a.slice.index - b.slice.index);
  return keyed.map(({ slice }) => slice);
}
