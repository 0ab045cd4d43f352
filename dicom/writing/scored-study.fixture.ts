import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Attributes, dataSet } from './keyword.ts';
import type { DicomJson } from '../dicom-json.ts';
import { mapOnSlice } from './anomaly-map.ts';
import { contours } from './contour.ts';
import { keyObjectSelection, rejectionNote } from '../ko/key-object-selection.ts';
import { parametricMap, parametricMapFrame } from '../pm/parametric-map.ts';
import { presentationStates } from '../pr/presentation-state.ts';
import { reportedSlices } from './reported-slices.ts';
import type { Heatmap, ResultObject, ScoredSlice, StudyResult } from '../result.ts';
import { secondaryCapture } from '../sc/secondary-capture.ts';
import { maskAboveThreshold } from '../seg/bit-mask.ts';
import { segmentation } from '../seg/segmentation.ts';
import type { PlaneGeometry, Slice } from '../slice.ts';
import { measurementReport } from '../sr/measurement-report.ts';
import { uidFrom } from '../uid.ts';

const GRID = 56;
const MAP_THRESHOLD = 0.02;

/** A result with the heatmaps that a real one does not keep. */
export interface ScoredStudy extends StudyResult {
  /** Of each slice. */
  heatmaps: Heatmap[];
}

interface DrawnSlice {
  scored: ScoredSlice;
  heatmap: Heatmap;
}

/** The Secondary Captures of the reported slices. */
export function secondaryCaptures(study: ScoredStudy): ResultObject[] {
  return reportedSlices(study).map(({ scored, index }) =>
    secondaryCapture(study, scored, index, study.heatmaps[index]),
  );
}

/** Synthetic scored studies, one of each shape of source: volumes, a projection, frames of one object. */
export const SOURCES = {
  'CT volume': () => scoredVolume('CT', '1.2.840.10008.5.1.4.1.1.2', 96, 128),
  'MR volume': () => scoredVolume('MR', '1.2.840.10008.5.1.4.1.1.4', 64, 64),
  'CR without geometry': () => scoredProjection(),
  'multi-frame OCT': () => scoredFrames(),
  'multi-frame MR volume': () => scoredMultiFrameVolume(),
  'colour photograph': () => scoredPhotograph(),
};

/** Every kind of result object of a study, as far as it applies: by kind and number. */
export function everyObject(study: ScoredStudy): Record<string, ResultObject> {
  const volume = study.slices.filter(({ slice }) => slice.geometry).length > 1;
  const { head, ...map } = parametricMap(study);
  const frames = study.heatmaps.map((heatmap) => parametricMapFrame(percentilesOf(heatmap)));
  const entries: [string, ResultObject[]][] = [
    ['SR comprehensive-3d', [measurementReport(study)]],
    ['SR comprehensive', [measurementReport(study, 'comprehensive')]],
    ['SC', secondaryCaptures(study)],
    ['SEG', volume ? [segmentation(study, study.heatmaps.map(maskAboveThreshold))] : []],
    ['PMAP', volume ? [{ ...map, bytes: Buffer.concat([head, ...frames]) }] : []],
    ['KO', [keyObjectSelection(study), rejectionNote(study, study.slices[0].header, REJECTED)]],
    ['PR', presentationStates(study)],
  ];
  return Object.fromEntries(
    entries.flatMap(([kind, objects]) => objects.map((object, i) => [`${kind} ${i + 1}`, object])),
  );
}

/** What an earlier result left: a report and a picture. */
export const REJECTED = [
  {
    sopClassUID: '1.2.840.10008.5.1.4.1.1.88.34',
    sopInstanceUID: '2.25.901',
    seriesInstanceUID: '2.25.910',
  },
  { sopClassUID: '1.2.840.10008.5.1.4.1.1.7', sopInstanceUID: '2.25.902', seriesInstanceUID: '2.25.920' },
];

/** Numbers in [0, 100] that stand for the percentiles which a calibration gives. */
export function percentilesOf(heatmap: Heatmap): Float32Array {
  return mapOnSlice(heatmap).map((value) => 100 * (1 - Math.exp(-value / heatmap.mapThreshold)));
}

export function scoredVolume(
  modality: string,
  sopClassUID: string,
  rows: number,
  columns: number,
): ScoredStudy {
  return resultOf(
    [0, 1, 2].map((index) => {
      const geometry: PlaneGeometry = {
        frameOfReferenceUID: uidFrom([modality, 'frame of reference']),
        imagePositionPatient: [-100.123456789, -100, 5 * index],
        imageOrientationPatient: [1, 0, 0, 0, 0.9986295347545738, -0.05233595624294383],
        pixelSpacing: [0.5, 0.75],
      };
      const sopInstanceUID = uidFrom([modality, String(index)]);
      const header = sourceHeader(modality, sopClassUID, sopInstanceUID, {
        FrameOfReferenceUID: geometry.frameOfReferenceUID,
        PositionReferenceIndicator: [],
        ImagePositionPatient: geometry.imagePositionPatient,
        ImageOrientationPatient: geometry.imageOrientationPatient,
        PixelSpacing: geometry.pixelSpacing,
        SliceThickness: '5',
        PhotometricInterpretation: 'MONOCHROME2',
        WindowCenter: 40,
        WindowWidth: 400,
        ...(modality === 'CT' && { RescaleIntercept: -1024, RescaleSlope: 1, RescaleType: 'HU' }),
        ProcedureCodeSequence: [
          { CodeValue: '77477000', CodingSchemeDesignator: 'SCT', CodeMeaning: 'Computed tomography' },
        ],
      });
      return scoredSlice({ sopInstanceUID, frame: 1, rows, columns, geometry }, header, index);
    }),
  );
}

export function scoredProjection(): ScoredStudy {
  const sopInstanceUID = uidFrom(['CR', '0']);
  const header = sourceHeader('CR', '1.2.840.10008.5.1.4.1.1.1', sopInstanceUID, {
    PatientOrientation: ['L', 'F'],
    BodyPartExamined: 'CHEST',
    PhotometricInterpretation: 'MONOCHROME1',
    ImagerPixelSpacing: [0.2, 0.2],
    BurnedInAnnotation: 'NO',
    LossyImageCompression: '00',
  });
  return resultOf([scoredSlice({ sopInstanceUID, frame: 1, rows: 151, columns: 201 }, header, 1)]);
}

export function scoredFrames(): ScoredStudy {
  const sopInstanceUID = uidFrom(['OPT', '0']);
  const header = sourceHeader('OPT', '1.2.840.10008.5.1.4.1.1.77.1.5.4', sopInstanceUID, {
    NumberOfFrames: 4,
    ImageLaterality: 'R',
  });
  return resultOf(
    [0, 1, 2].map((index) =>
      scoredSlice({ sopInstanceUID, frame: index + 2, rows: 80, columns: 120 }, header, index),
    ),
  );
}

/** An Enhanced MR Image: its frames tell their own plane. */
function scoredMultiFrameVolume(): ScoredStudy {
  const sopInstanceUID = uidFrom(['MR', 'multi-frame']);
  const geometry = (index: number): PlaneGeometry => ({
    frameOfReferenceUID: uidFrom(['MR', 'multi-frame', 'frame of reference']),
    imagePositionPatient: [-60, -60, 4 * index],
    imageOrientationPatient: [1, 0, 0, 0, 0.9986295347545738, -0.05233595624294383],
    pixelSpacing: [1, 1],
  });
  const header = sourceHeader('MR', '1.2.840.10008.5.1.4.1.1.4.1', sopInstanceUID, {
    NumberOfFrames: 3,
    SharedFunctionalGroupsSequence: [
      {
        PixelMeasuresSequence: [{ PixelSpacing: [1, 1], SliceThickness: 4 }],
        FrameVOILUTSequence: [{ WindowCenter: 300, WindowWidth: 600 }],
        PixelValueTransformationSequence: [{ RescaleIntercept: 0, RescaleSlope: 1, RescaleType: 'US' }],
      },
    ],
    PerFrameFunctionalGroupsSequence: [0, 1, 2].map((index) => ({
      PlanePositionSequence: [{ ImagePositionPatient: geometry(index).imagePositionPatient }],
    })),
  });
  return resultOf(
    [0, 1, 2].map((index) =>
      scoredSlice(
        { sopInstanceUID, frame: index + 1, rows: 71, columns: 93, geometry: geometry(index) },
        header,
        index,
      ),
    ),
  );
}

function scoredPhotograph(): ScoredStudy {
  const sopInstanceUID = uidFrom(['XC', '0']);
  const header = sourceHeader('XC', '1.2.840.10008.5.1.4.1.1.77.1.4', sopInstanceUID, {
    PatientOrientation: [],
    SamplesPerPixel: 3,
    PhotometricInterpretation: 'RGB',
    LossyImageCompression: '01',
    LossyImageCompressionRatio: 8,
    LossyImageCompressionMethod: 'ISO_10918_1',
  });
  return resultOf([scoredSlice({ sopInstanceUID, frame: 1, rows: 90, columns: 90 }, header, 1)]);
}

function sourceHeader(
  modality: string,
  sopClassUID: string,
  sopInstanceUID: string,
  attributes: Attributes,
): DicomJson {
  return {
    ...dataSet({
      SOPClassUID: sopClassUID,
      SOPInstanceUID: sopInstanceUID,
      StudyInstanceUID: uidFrom([modality, 'study']),
      SeriesInstanceUID: uidFrom([modality, 'series']),
      Modality: modality,
      StudyDate: '20240229',
      StudyTime: '101112.5',
      StudyID: '7',
      AccessionNumber: 'A-1',
      ReferringPhysicianName: [],
      PatientID: 'P-1',
      PatientBirthDate: '19500101',
      PatientSex: 'F',
      PatientAge: '074Y',
      StudyDescription: 'Ünïcode Żółć',
      ...attributes,
    }),
    '00100010': {
      vr: 'PN',
      Value: [{ Alphabetic: 'Yamada^Tarou', Ideographic: '山田^太郎', Phonetic: 'やまだ^たろう' }],
    },
  };
}

/** The middle one of three is flagged; its map holds two bumps above the threshold, one of them at the edge. */
function scoredSlice(slice: Omit<Slice, 'pixels'>, header: DicomJson, index: number): DrawnSlice {
  const bump = (x: number, y: number, cx: number, cy: number, width: number) =>
    Math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width * width));
  const map = Float32Array.from({ length: GRID * GRID }, (_, at) => {
    const [x, y] = [(at % GRID) + 0.5, Math.floor(at / GRID) + 0.5];
    return 0.004 + (index === 1 ? 0.05 * bump(x, y, 30, 25, 4) + 0.04 * bump(x, y, GRID, 40, 5) : 0);
  });
  const rawScore = index === 1 ? 0.054 + 1 / 3e5 : 0.0123456789012345;
  const { rows, columns } = slice;
  const heatmap: Heatmap = {
    rows,
    columns,
    pixels: new Uint8Array(rows * columns).map((_, at) => (at * 7) % 200),
    map,
    mapRows: GRID,
    mapColumns: GRID,
    gridToSlice: [columns / GRID, 0, 0, 0, rows / GRID, 0],
    mapThreshold: MAP_THRESHOLD,
  };
  const score = {
    rawScore,
    pValue: index === 1 ? 1 / 301 : 0.7,
    percentile: index === 1 ? 100 * (1 - 1 / 301) : 30,
    threshold: 0.0423,
    flagged: rawScore > 0.0423,
  };
  return { scored: { slice, header, score, regions: contours(heatmap) }, heatmap };
}

function resultOf(drawn: DrawnSlice[]): ScoredStudy {
  const slices = drawn.map(({ scored }) => scored);
  return {
    slices,
    heatmaps: drawn.map(({ heatmap }) => heatmap),
    sourceUIDs: slices.map(({ slice }) => slice.sopInstanceUID),
    mapThreshold: MAP_THRESHOLD,
    study: slices.map(({ score }) => score).reduce((a, b) => (b.rawScore > a.rawScore ? b : a)),
    falsePositiveRate: 0.05,
    algorithm: {
      manufacturer: 'QFAE',
      modelName: 'QFAE node',
      softwareVersion: '0.1.0',
      algorithmName: 'Q-Former autoencoder',
      algorithmVersion: 'brain-mri@0123456789ab',
      deviceUID: uidFrom(['device', 'brain-mri@0123456789ab']),
      deviceSerialNumber: '1',
    },
    bundleTitle: 'brain-mri@0123456789ab (UNTRAINED)',
    performedAt: new Date('2024-03-01T23:59:58.765Z'),
    outputSettings: 'sr=comprehensive-3d sc=flagged',
  };
}

/** What a program of others says of a file: its exit status and all its output. */
export function judge(
  bytes: Uint8Array,
  program: string,
  ...options: string[]
): { status: number; output: string } {
  const folder = mkdtempSync(join(tmpdir(), 'qfae-object-'));
  try {
    const file = join(folder, 'object.dcm');
    writeFileSync(file, bytes);
    const run = spawnSync(program, [...options, file], { encoding: 'utf8', maxBuffer: 2 ** 28 });
    return { status: run.status ?? -1, output: run.stdout + run.stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The data set as pydicom reads it, in the DICOM JSON model. */
export function readByPydicom(bytes: Uint8Array): DicomJson {
  const script = 'import pydicom, sys; print(pydicom.dcmread(sys.argv[1]).to_json())';
  const { output } = judge(bytes, PYTHON, '-c', script);
  return JSON.parse(output) as DicomJson;
}

/** The interpreter for which Debian installs python3-pydicom. */
export const PYTHON = '/usr/bin/python3';
