import { createReadStream } from 'node:fs';
import { appendFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mapOnSlice } from '../../dicom/writing/anomaly-map.ts';
import { keyObjectSelection } from '../../dicom/ko/key-object-selection.ts';
import { parametricMap, parametricMapFrame } from '../../dicom/pm/parametric-map.ts';
import { presentationStates } from '../../dicom/pr/presentation-state.ts';
import type { ResultContext, ResultObject, StudyResult } from '../../dicom/result.ts';
import { resultIdentity } from '../../dicom/writing/result-uid.ts';
import { secondaryCapture } from '../../dicom/sc/secondary-capture.ts';
import { maskAboveThreshold } from '../../dicom/seg/bit-mask.ts';
import { segmentation } from '../../dicom/seg/segmentation.ts';
import { measurementReport } from '../../dicom/sr/measurement-report.ts';
import { calibrationOf } from '../../inference/bundle/schema.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import { mapPercentiles } from '../../inference/calibration.ts';
import type { Settings } from '../settings.ts';
import type { Reporting, SeriesScore } from './score-series.ts';
import type { SelectedSeries } from './series-selection.ts';

type Outputs = Settings['outputs'];

/** A result object in a file. */
export type StoredObject = Omit<ResultObject, 'bytes'> & { file: string };

/**
 * Writes the result objects of one series that the settings ask for into files, as its slices are scored. Of each
 * slice no more is kept than a bit a pixel; the frames of the parametric map wait on the disk.
 *
 * @example
 * const objects = new ResultObjects(result, bundle, outputs, series, folder, (kind) =>
 *   join(folder, `${kind}.dcm`),
 * );
 * const score = await scoreSeries(pool, scorer, series, objects.reporting);
 * const stored = await objects.finish(score);
 */
export class ResultObjects {
  /** To be given to `scoreSeries`. */
  readonly reporting: Reporting;
  readonly #result: ResultContext;
  readonly #outputs: Outputs;
  readonly #volume: boolean;
  readonly #framesFile: string;
  readonly #fileOf: (kind: keyof Outputs, sopInstanceUID: string) => string;
  readonly #masks: Uint8Array[] = [];
  readonly #stored: StoredObject[] = [];

  /**
   * @param folder for what is not finished yet
   * @param fileOf where an object is written; called once an object, in the order in which they are written
   */
  constructor(
    result: ResultContext,
    bundle: Bundle,
    outputs: Outputs,
    series: SelectedSeries,
    folder: string,
    fileOf: (kind: keyof Outputs, sopInstanceUID: string) => string,
  ) {
    this.#result = result;
    this.#outputs = outputs;
    this.#volume = series.slices.filter(({ position }) => position !== undefined).length > 1;
    this.#framesFile = join(folder, `${resultIdentity(result)}.frames`);
    this.#fileOf = fileOf;
    this.reporting = {
      slices: outputs.sc,
      each: async ({ heatmap, index }) => {
        if (this.#writes('seg')) this.#masks.push(maskAboveThreshold(heatmap));
        if (!this.#writes('pmap')) return;
        const percentiles = mapPercentiles(calibrationOf(bundle), mapOnSlice(heatmap));
        // The first one replaces what a run that was cut short has left.
        await writeFile(this.#framesFile, parametricMapFrame(percentiles), { flag: index === 0 ? 'w' : 'a' });
      },
      report: ({ scored, index, heatmap }) =>
        this.#keep('sc', secondaryCapture(result, scored, index, heatmap)),
    };
  }

  /** Writes what needs the whole series; returns every object that was written. */
  async finish(
    score: SeriesScore,
    predecessor?: NonNullable<StudyResult['predecessor']>,
  ): Promise<StoredObject[]> {
    const result: StudyResult = { ...this.#result, ...score, ...(predecessor && { predecessor }) };
    if (this.#outputs.sr !== 'off') await this.#keep('sr', measurementReport(result, this.#outputs.sr));
    if (this.#writes('seg')) await this.#keep('seg', segmentation(result, this.#masks));
    if (this.#writes('pmap')) await this.#keepParametricMap(result);
    if (this.#writes('ko')) await this.#keep('ko', keyObjectSelection(result));
    if (this.#writes('pr')) for (const state of presentationStates(result)) await this.#keep('pr', state);
    return this.#stored;
  }

  /** Segments and maps are of volumes only: of at least two slices with a plane in space. */
  #writes(kind: 'seg' | 'pmap' | 'ko' | 'pr'): boolean {
    return this.#outputs[kind] === 'on' && (this.#volume || kind === 'ko' || kind === 'pr');
  }

  async #keep(kind: keyof Outputs, { bytes, ...object }: ResultObject): Promise<void> {
    const file = this.#fileOf(kind, object.sopInstanceUID);
    await writeFile(file, bytes);
    this.#stored.push({ ...object, file });
  }

  async #keepParametricMap(result: StudyResult): Promise<void> {
    const { head, ...object } = parametricMap(result);
    const file = this.#fileOf('pmap', object.sopInstanceUID);
    await writeFile(file, head);
    await appendFile(file, createReadStream(this.#framesFile));
    await rm(this.#framesFile);
    this.#stored.push({ ...object, file });
  }
}
