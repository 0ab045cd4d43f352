import type { Manifest } from '../../inference/bundle/schema.ts';
import type { InputSlice } from '../../inference/preprocess.ts';
import type { LossName } from '../../training/loss.ts';
import type { PretrainingModel } from '../../training/pretrain.ts';

/** How long and how fast a network learns. */
export interface Schedule {
  readonly epochs: number;
  /** Slices in an optimiser step. */
  readonly batchSize: number;
  readonly maximumRate: number;
}

/** A study with a known answer. */
export interface KnownStudy {
  readonly patient: string;
  readonly study: string;
  /** What is abnormal; undefined: nothing. */
  readonly kind?: string;
  readonly slices: readonly KnownSlice[];
}

export interface KnownSlice extends InputSlice {
  /** Not 0 where it is abnormal, row-major; absent where nobody knows the place. */
  readonly truth?: Uint8Array;
}

export type Studies = Iterable<KnownStudy> | AsyncIterable<KnownStudy>;

/** How a demonstration bundle is made, and what it is measured on. No patient is in two of the three parts. */
export interface Demonstration {
  /** Of the bundle and of its profile. */
  readonly name: string;
  /** What it has learned, and what it is worth. */
  readonly note: string;
  readonly model: PretrainingModel;
  /** What it scores. */
  readonly series: Manifest['profile']['series'];
  readonly reductions: Manifest['profile']['reductions'];
  readonly pretraining: Schedule;
  readonly training: Schedule & { readonly loss: LossName };
  /** False-positive rate of the threshold; default 0.05, which takes 19 patients to calibrate. */
  readonly alpha?: number;
  /** Normal studies. */
  readonly trainingStudies: () => Studies;
  /** Normal studies, one of each patient or several, patient by patient. */
  readonly calibrationStudies: () => Studies;
  readonly calibrationPatients: number;
  readonly testStudies: () => Studies;
}
