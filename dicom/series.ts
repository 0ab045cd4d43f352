import type { DicomJson } from './dicom-json.ts';
import { frameAttributes } from './functional-groups.ts';
import { planeGeometry, positionAlongNormal } from './plane-geometry.ts';
import { attributeOf, numberOf, stringOf, stringsOf } from './reading/attribute.ts';
import type { InstanceHeader } from './reading/part10.ts';
import type { PlaneGeometry } from './slice.ts';

/** One slice of a series: a frame (counted from 1) of the header at `index`. */
export interface SeriesSlice {
  index: number;
  frame: number;
  /** Along the slice normal, in millimetres, where the series has geometry. */
  position?: number;
}

/** Parallel grey planes of one size and kind, in order: by position along the normal, else by number. */
export interface SliceStack {
  slices: SeriesSlice[];
  /** Of its first slice: those of the data set and of the frame. */
  attributes: DicomJson;
  /** What tells it from stacks at the same positions, such as `Echo Time 90`. */
  distinctions: string[];
  /** What a reader of its scores should know, such as gaps. */
  remarks: string[];
}

/** What of a series belongs to no stack, and why. */
export interface LeftOut {
  index: number;
  /** The whole instance where there is none. */
  frame?: number;
  reason: string;
}

/** A series, sorted: the stack with most slices first. */
export interface SortedSeries {
  stacks: SliceStack[];
  leftOut: LeftOut[];
}

/** Modalities whose objects may hold pixels but are no images to score. */
const resultModalities = new Set(['SR', 'SEG', 'PR', 'KO', 'REG', 'RTSTRUCT', 'RTPLAN', 'RTDOSE', 'DOC']);
/** Largest difference of a direction cosine within a stack. */
const orientationTolerance = 1e-3;
/** Largest difference of pixel spacings within a stack, as a part of them. */
const spacingTolerance = 1e-3;
/** Of an instance that is sorted; a functional MRI has tens of thousands. */
const maxFrames = 2 ** 16;
/** Slices that are further apart than this many times the usual distance have a gap between them. */
const gapFactor = 1.5;

/**
 * What tells apart images that lie at one position, the most telling first: stack, echo, inversion, diffusion,
 * time, reconstruction.
 */
const distinguishing: [tag: string, name: string][] = [
  ['00209056', 'Stack ID'],
  ['00180086', 'Echo Number'],
  ['00189082', 'Effective Echo Time'],
  ['00180081', 'Echo Time'],
  ['00180082', 'Inversion Time'],
  ['00189087', 'Diffusion b-value'],
  ['00189089', 'Diffusion Gradient Orientation'],
  ['00180024', 'Sequence Name'],
  ['00200100', 'Temporal Position Identifier'],
  ['00209128', 'Temporal Position Index'],
  ['00209153', 'Nominal Cardiac Trigger Delay Time'],
  ['00181060', 'Trigger Time'],
  ['00181210', 'Convolution Kernel'],
  ['00200012', 'Acquisition Number'],
];

/** A slice with what it is sorted by. */
interface Plane {
  slice: SeriesSlice;
  attributes: DicomJson;
  geometry?: PlaneGeometry;
  /** Instance Number and frame. */
  order: readonly [number, number];
}

/**
 * Sorts the images of one series into stacks. Images are of one stack if they agree in size, pixel spacing,
 * orientation, frame of reference and Image Type (projections: in View Position). Several images at a position
 * (echoes, phases, b-values) are told apart by the attribute in which they differ, else by their number.
 *
 * @param headers the instances of one series, in any order
 */
export function sortSeries(headers: readonly InstanceHeader[]): SortedSeries {
  const leftOut: LeftOut[] = [];
  const planes: Plane[] = [];
  const seen = new Set<string>();
  headers.forEach((header, index) => {
    const reason = seen.has(header.sopInstanceUID) ? 'a second copy of an instance' : unsuitable(header);
    seen.add(header.sopInstanceUID);
    if (reason !== undefined) {
      leftOut.push({ index, reason });
      return;
    }
    for (let frame = 1; frame <= header.numberOfFrames; frame++) {
      const plane = planeOf(header, index, frame);
      if (isLocalizer(plane.attributes)) {
        leftOut.push({ index, frame, reason: 'a localizer' });
      } else planes.push(plane);
    }
  });
  const stacks: SliceStack[] = [];
  for (const group of alike(planes)) {
    for (const { members, distinctions } of toldApart(group)) {
      const { kept, doubled } = onePerPosition(members);
      for (const { slice } of doubled) {
        leftOut.push({
          index: slice.index,
          frame: slice.frame,
          reason: 'another image lies at its position',
        });
      }
      stacks.push({
        slices: kept.map(({ slice }) => slice),
        attributes: kept[0].attributes,
        distinctions,
        remarks: gaps(kept),
      });
    }
  }
  return { stacks: stacks.sort((a, b) => b.slices.length - a.slices.length), leftOut };
}

function unsuitable({ dataset, hasPixelData, numberOfFrames }: InstanceHeader): string | undefined {
  const modality = stringOf(dataset, '00080060');
  if (modality !== undefined && resultModalities.has(modality)) return `modality ${modality} holds no images`;
  if (!hasPixelData) return 'no pixel data';
  if (numberOf(dataset, '00280002') !== 1 || !/^MONOCHROME[12]$/.test(stringOf(dataset, '00280004') ?? ''))
    return 'not grey';
  if (numberOfFrames > maxFrames) return `more than ${maxFrames} frames`;
  return undefined;
}

function planeOf(header: InstanceHeader, index: number, frame: number): Plane {
  const attributes = frameAttributes(header.dataset, frame);
  const geometry = planeGeometry(header.dataset, frame);
  // A malformed Instance Number must not keep an image from being scored: it counts as none.
  const instance = Number(header.dataset['00200013']?.Value?.[0]) || 0;
  const inStack = numberOf(attributes, '00209057') ?? frame;
  return { slice: { index, frame }, attributes, ...(geometry && { geometry }), order: [instance, inStack] };
}

function isLocalizer(attributes: DicomJson): boolean {
  return ['00080008', '00089007'].some((tag) => stringsOf(attributes, tag).includes('LOCALIZER'));
}

/** Image Type, in enhanced objects the frame's own Frame Type. */
function imageType(attributes: DicomJson): string {
  const frameType = stringsOf(attributes, '00089007');
  return (frameType.length > 0 ? frameType : stringsOf(attributes, '00080008')).join('\\');
}

/** Planes that agree in all that makes a stack, each group in the order of its numbers. */
function alike(planes: readonly Plane[]): Plane[][] {
  const groups: Plane[][] = [];
  const ordered = [...planes].sort(
    (a, b) => a.order[0] - b.order[0] || a.order[1] - b.order[1] || a.slice.index - b.slice.index,
  );
  for (const plane of ordered) {
    const group = groups.find(([first]) => agree(first, plane));
    if (group) group.push(plane);
    else groups.push([plane]);
  }
  return groups;
}

function agree(a: Plane, b: Plane): boolean {
  if (['00280010', '00280011'].some((tag) => numberOf(a.attributes, tag) !== numberOf(b.attributes, tag)))
    return false;
  if (imageType(a.attributes) !== imageType(b.attributes)) return false;
  if (!a.geometry || !b.geometry) {
    const views = [a, b].map(({ attributes }) => stringOf(attributes, '00185101'));
    return a.geometry === b.geometry && views[0] === views[1];
  }
  const [g, h] = [a.geometry, b.geometry];
  return (
    g.frameOfReferenceUID === h.frameOfReferenceUID &&
    g.imageOrientationPatient.every(
      (cosine, i) => Math.abs(cosine - h.imageOrientationPatient[i]) <= orientationTolerance,
    ) &&
    g.pixelSpacing.every((mm, i) => Math.abs(mm - h.pixelSpacing[i]) <= spacingTolerance * mm)
  );
}

interface ToldApart {
  members: Plane[];
  distinctions: string[];
}

/** Divides planes of which several lie at one position; they have positions afterwards, and are in order. */
function toldApart(group: Plane[]): ToldApart[] {
  if (!group[0].geometry) return [{ members: group, distinctions: [] }];
  // One normal for all: the tolerance must not tilt the order.
  const { imageOrientationPatient } = group[0].geometry;
  const members = group.map(({ slice, ...plane }) => ({
    ...plane,
    slice: { ...slice, position: positionAlongNormal({ ...plane.geometry!, imageOrientationPatient }) },
  }));
  return divided(members.sort((a, b) => a.slice.position - b.slice.position));
}

function divided(members: Plane[]): ToldApart[] {
  const positions = byPosition(members);
  const most = mostAtOnePosition(members);
  if (most === 1) return [{ members, distinctions: [] }];
  for (const [tag, name] of distinguishing) {
    const values = [...Map.groupBy(members, ({ attributes }) => valueOf(attributes, tag))];
    // A value a slice (times of acquisition) makes no stacks, nor does one that differs elsewhere only.
    if (values.length > most || values.some(([, part]) => mostAtOnePosition(part) === most)) continue;
    return values
      .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
      .flatMap(([value, part]) =>
        divided(part).map(({ members, distinctions }) => ({
          members,
          distinctions: [`${name} ${value || 'unknown'}`, ...distinctions],
        })),
      );
  }
  if (positions.some(({ length }) => length < most)) return [{ members, distinctions: [] }];
  return Array.from({ length: most }, (_, i) => ({
    members: positions.map((position) => position[i]),
    distinctions: [`image ${i + 1} of ${most} at its position`],
  }));
}

function valueOf(attributes: DicomJson, tag: string): string {
  return (attributeOf(attributes, tag)?.Value ?? []).map(String).join('\\');
}

/** Planes of one position together; positions in order. */
function byPosition(members: readonly Plane[]): Plane[][] {
  const groups: Plane[][] = [];
  for (const plane of members) {
    const last = groups.at(-1);
    // Positions are written in decimal: a hundredth of a millimetre is none.
    if (last && plane.slice.position! - last[0].slice.position! < 0.01) last.push(plane);
    else groups.push([plane]);
  }
  return groups;
}

function mostAtOnePosition(members: readonly Plane[]): number {
  return byPosition(members).reduce((most, { length }) => Math.max(most, length), 0);
}

/** The first image at each position, and the others. */
function onePerPosition(members: Plane[]): { kept: Plane[]; doubled: Plane[] } {
  if (!members[0].geometry) return { kept: members, doubled: [] };
  const positions = byPosition(members);
  return { kept: positions.map(([first]) => first), doubled: positions.flatMap(([, ...others]) => others) };
}

function gaps(planes: readonly Plane[]): string[] {
  const positions = planes.flatMap(({ slice }) => slice.position ?? []);
  const distances = positions.slice(1).map((position, i) => position - positions[i]);
  if (distances.length < 2) return [];
  const usual = distances.toSorted((a, b) => a - b)[distances.length >> 1];
  return distances.flatMap((distance, i) =>
    distance > gapFactor * usual
      ? [`a gap of ${distance.toFixed(1)} mm after slice ${i + 1}, others are ${usual.toFixed(1)} mm apart`]
      : [],
  );
}
