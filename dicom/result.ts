import type { Contour } from './writing/contour.ts';
import type { DicomJson } from './dicom-json.ts';
import type { Affine, Slice } from './slice.ts';

/** The values of one score, as the SR carries them (published in `dicom/CODES.md`). */
export interface ScoreValues {
  /** Unitless; higher is more abnormal. */
  rawScore: number;
  /** Conformal p-value, in (0, 1]. */
  pValue: number;
  /** 100·(1 − pValue), in [0, 100). */
  percentile: number;
  /** The raw score at the chosen false-positive rate; finite, since no DICOM number holds infinity. */
  threshold: number;
  /** rawScore > threshold. */
  flagged: boolean;
}

/** An anomaly map over the slice that it belongs to: what a heatmap and its outlines are drawn from. */
export interface Heatmap {
  rows: number;
  columns: number;
  /** rows × columns, row-major, 0 = black. */
  pixels: Uint8Array;
  /** mapRows × mapColumns, row-major; higher is more abnormal. */
  map: Float32Array;
  mapRows: number;
  mapColumns: number;
  /** Model grid → slice. */
  gridToSlice: Affine;
  /** Map value above which a region is drawn as a finding; finite and above 0, it is the middle of the colour scale. */
  mapThreshold: number;
}

/** A scored slice; its heatmap is drawn when it is scored and not kept, so that a study need not fit in memory. */
export interface ScoredSlice {
  slice: Omit<Slice, 'pixels'>;
  /** The source instance's attributes without pixel data. */
  header: DicomJson;
  score: ScoreValues;
  /** Outlines of what lies above the map's threshold (`contours`). */
  regions: Contour[];
}

/** Who computed the result: equipment and algorithm identification (PS3.3 C.7.5.2; PS3.16 TID 4019). */
export interface Algorithm {
  manufacturer: string;
  modelName: string;
  /** Of the writer. */
  softwareVersion: string;
  algorithmName: string;
  /** The bundle ID. */
  algorithmVersion: string;
  /** Changes with every bundle. */
  deviceUID: string;
  deviceSerialNumber: string;
}

/** What the objects of one result have in common. */
export interface ResultContext {
  /** SOPInstanceUIDs of the scored instances. */
  sourceUIDs: string[];
  algorithm: Algorithm;
  /** The bundle, as a reader should see it: named untrained where it is. */
  bundleTitle: string;
  /** False-positive rate of the thresholds, as a fraction. */
  falsePositiveRate: number;
  /** Map value above which a region is a finding. */
  mapThreshold: number;
  /** What is hashed into result UIDs beside the source UIDs, the bundle ID and the writer's version. */
  outputSettings: string;
  /** Time of the job, the only clock in a result: content, series and instance dates. */
  performedAt: Date;
}

/** Everything that the report on a study is made of. The same input gives the same bytes. */
export interface StudyResult extends ResultContext {
  /** In slice order; at least one. */
  slices: ScoredSlice[];
  study: ScoreValues;
  /** The earlier SR on the same study that this one replaces. */
  predecessor?: { sopClassUID: string; sopInstanceUID: string; seriesInstanceUID: string };
}

/** A result object, ready to be stored. */
export interface ResultObject {
  sopClassUID: string;
  sopInstanceUID: string;
  seriesInstanceUID: string;
  studyInstanceUID: string;
  /** A whole Part 10 file. */
  bytes: Uint8Array;
}
