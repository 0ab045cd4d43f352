import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import sharp from 'sharp';
import { DicomPool } from '../../dicom/pool.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import type { ResultContext, ScoreValues } from '../../dicom/result.ts';
import { heatmapOverlay } from '../../dicom/sc/heatmap-overlay.ts';
import type { RgbImage } from '../../dicom/sc/rgb-image.ts';
import type { Slice } from '../../dicom/slice.ts';
import { precisionRemark } from '../../inference/bundle/schema.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { Scorer } from '../../inference/scorer.ts';
import type { InputSlice } from '../../inference/scorer.ts';
import { isPicture, readGreyPicture } from '../../training/pictures.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { presentSeries } from '../scoring/candidate-series.ts';
import { resultContext } from '../scoring/algorithm.ts';
import { ContactSheet } from '../scoring/contact-sheet.ts';
import { ResultObjects } from '../scoring/result-objects.ts';
import { heatmapOf, scoreSeries, type SeriesScore, valuesOf } from '../scoring/score-series.ts';
import {
  describe,
  selectSeries,
  type SelectedSeries,
  type SourceInstance,
} from '../scoring/series-selection.ts';
import { loadSettings, type Settings } from '../settings.ts';
import { readSlices } from '../scoring/series-slices.ts';
import { wholeNumber } from './arguments.ts';
import { printJson } from './print-json.ts';

interface ScoreOptions {
  bundle?: string;
  out?: string;
  raw?: true;
  json?: true;
  batchSize?: number;
}

/** `qfae score`: scores DICOM files, PNG and JPEG pictures without a node. */
export function scoreCommand(): Command {
  return new Command('score')
    .description('score DICOM files, PNG and JPEG pictures')
    .argument('<files or folders...>')
    .option('--bundle <id>', 'bundle ID, or a name for the promoted one (default: the setting)')
    .option('--out <folder>', 'write result objects and pictures here')
    .addOption(
      new Option('--raw', 'the scores that the model gives, also of a bundle without calibration').conflicts(
        'out',
      ),
    )
    .option('--json', 'JSON lines on stdout')
    .addOption(new Option('--batch-size <n>', 'slices in one run of the model').argParser(wholeNumber))
    .action(async (paths: string[], options: ScoreOptions) => {
      const settings = loadSettings();
      const folder = openDataFolder(settings.data);
      await ensureShippedBundles(folder.root);
      const pool = new DicomPool({ threads: settings.decoding.threads });
      const scorer = await Scorer.open(folder.root, options.bundle ?? settings.bundle, {
        ...(await chooseRuntime(settings.inference)),
        batchSize: options.batchSize ?? settings.inference.batchSize,
      });
      const remark = precisionRemark(scorer.bundle, scorer.precision);
      if (remark !== undefined && !options.raw) console.error(remark);
      try {
        const failed = await new ScoreRun(settings, pool, scorer, options).run(paths);
        if (failed) process.exitCode = 1;
      } finally {
        await scorer.close();
        await pool.close();
      }
    });
}

/** One call of `qfae score`. */
class ScoreRun {
  readonly #settings: Settings;
  readonly #pool: DicomPool;
  readonly #scorer: Scorer;
  readonly #options: ScoreOptions;
  readonly #performedAt = new Date();
  #studies = 0;
  #pictures = 0;
  readonly #numbers = new Map<string, number>();
  #failed = false;

  constructor(settings: Settings, pool: DicomPool, scorer: Scorer, options: ScoreOptions) {
    this.#settings = settings;
    this.#pool = pool;
    this.#scorer = scorer;
    this.#options = options;
  }

  /** Scores everything in `paths`; true if something of it could not be read or scored. */
  async run(paths: string[]): Promise<boolean> {
    if (this.#options.out !== undefined) await mkdir(this.#options.out, { recursive: true });
    const instances: SourceInstance[] = [];
    for (const { path, named } of await filesIn(paths)) {
      if (isPicture(path)) await this.#attempt(path, () => this.#scorePicture(path));
      else {
        const header = await this.#pool.readHeader(path).catch((error: unknown) => {
          this.#complain(path, error, named);
        });
        if (header) instances.push({ path, header });
      }
    }
    const studies = Map.groupBy(instances, ({ header }) => header.studyInstanceUID);
    for (const [studyInstanceUID, ofStudy] of studies) {
      await this.#attempt(`study ${studyInstanceUID}`, () => this.#scoreStudy(studyInstanceUID, ofStudy));
    }
    if (this.#studies === 0 && !this.#failed) throw new Error('no DICOM file and no picture found');
    return this.#failed;
  }

  async #scoreStudy(studyInstanceUID: string, instances: SourceInstance[]): Promise<void> {
    this.#studies++;
    const { bundle } = this.#scorer;
    const series = await selectSeries(this.#pool, bundle.profile, presentSeries(instances));
    if ('reason' in series) {
      this.#tellStudy({ studyInstanceUID }, { status: 'not-scored', reason: series.reason });
      return;
    }
    if (this.#options.raw) {
      const ofSlice = (slice: Slice) => ({ sopInstanceUID: slice.sopInstanceUID, frame: slice.frame });
      return this.#tellRaw({ studyInstanceUID }, readSlices(this.#pool, series), ofSlice);
    }
    const { outputs } = this.#settings;
    const result = resultContext(bundle, outputs, series.sourceUIDs, this.#performedAt);
    const score = await this.#scoreSeries(result, series);
    for (const { slice, score: values } of score.slices) {
      this.#tellSlice({ sopInstanceUID: slice.sopInstanceUID, frame: slice.frame }, values);
    }
    const { seriesInstanceUID, remarks, notScored } = series;
    this.#tellStudy(
      { studyInstanceUID },
      { status: 'scored', ...score.study, seriesInstanceUID, remarks, notScored },
    );
  }

  /** Scores a series and, where there is a folder for them, writes its result objects and pictures. */
  async #scoreSeries(result: ResultContext, series: SelectedSeries): Promise<SeriesScore> {
    const { out } = this.#options;
    if (out === undefined) {
      const report = () => Promise.resolve();
      return scoreSeries(this.#pool, this.#scorer, series, { slices: 'off', report });
    }
    const { bundle } = this.#scorer;
    const objects = new ResultObjects(result, bundle, this.#settings.outputs, series, out, (kind) =>
      join(out, kind === 'sc' ? `sc-${this.#pictureNumber()}.dcm` : `${kind}-${this.#nextNumber(kind)}.dcm`),
    );
    const sheet = new ContactSheet(bundle.title);
    const score = await scoreSeries(this.#pool, this.#scorer, series, {
      ...objects.reporting,
      each: async (slice) => {
        await sheet.add(slice);
        await objects.reporting.each?.(slice);
      },
      report: async (slice) => {
        await this.#writePicture(heatmapOverlay(slice.heatmap, slice.scored.score, bundle.title));
        await objects.reporting.report(slice);
      },
    });
    await objects.finish(score);
    await sheet.write(join(out, `contact-sheet-${this.#nextNumber('contact-sheet')}.png`));
    return score;
  }

  async #scorePicture(path: string): Promise<void> {
    this.#studies++;
    const slice = await readGreyPicture(path);
    if (this.#options.raw) return this.#tellRaw({ file: path }, [slice], () => ({ file: path, frame: 1 }));
    for await (const score of this.#scorer.score([slice])) {
      const { bundle } = this.#scorer;
      await this.#writePicture(heatmapOverlay(heatmapOf(score, slice, bundle), score, bundle.title));
      this.#tellSlice({ file: path, frame: 1 }, score);
      this.#tellStudy({ file: path }, { status: 'scored', ...valuesOf(this.#scorer.studyScore([score])) });
    }
  }

  async #tellRaw<S extends InputSlice>(
    of: Scored,
    slices: AsyncIterable<S> | Iterable<S>,
    ofSlice: (slice: S) => object,
  ): Promise<void> {
    const { json } = this.#options;
    const { bundle } = this.#scorer;
    const running: object[] = [];
    async function* read() {
      for await (const slice of slices) {
        running.push(ofSlice(slice));
        yield slice;
      }
    }
    let highest = -Infinity;
    for await (const { rawScore } of this.#scorer.scoreRaw(read())) {
      if (json) printJson({ type: 'slice', ...running.shift(), rawScore });
      highest = Math.max(highest, rawScore);
    }
    if (json) printJson({ type: 'study', ...of, status: 'scored', rawScore: highest, bundle: bundle.id });
    else console.log(`${nameOf(of)}: raw score ${highest.toPrecision(6)}; ${bundle.title}`);
  }

  /** Does `work`; what it throws is told and does not end the run. */
  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#complain(what, error, true);
    }
  }

  /** Tells what could not be read. Among the files of a folder, those that are no DICOM are passed over. */
  #complain(what: string, error: unknown, named: boolean): void {
    const passedOver = !named && error instanceof DicomError && error.reason === 'not-dicom';
    console.error(`${what}: ${passedOver ? 'passed over: ' : ''}${(error as Error).message}`);
    this.#failed ||= !passedOver;
  }

  async #writePicture({ pixels, rows, columns }: RgbImage): Promise<void> {
    this.#pictures++;
    if (this.#options.out === undefined) return;
    const png = sharp(pixels, { raw: { width: columns, height: rows, channels: 3 } }).png();
    await png.toFile(join(this.#options.out, `heatmap-${this.#pictureNumber()}.png`));
  }

  /** Of the picture that was written last, and of the Secondary Capture that shows the same. */
  #pictureNumber(): string {
    return String(this.#pictures).padStart(3, '0');
  }

  /** Objects of other kinds are counted each on its own. */
  #nextNumber(kind: string): number {
    const number = (this.#numbers.get(kind) ?? 0) + 1;
    this.#numbers.set(kind, number);
    return number;
  }

  #tellSlice(of: object, { rawScore, pValue, percentile, flagged }: ScoreValues): void {
    if (this.#options.json) printJson({ type: 'slice', ...of, rawScore, pValue, percentile, flagged });
  }

  #tellStudy(of: Scored, outcome: StudyOutcome): void {
    const { bundle } = this.#scorer;
    if (this.#options.json) {
      printJson({ type: 'study', ...of, ...outcome, bundle: bundle.id });
      return;
    }
    const name = nameOf(of);
    console.log(
      outcome.status === 'scored'
        ? `${name}: percentile ${outcome.percentile.toFixed(1)}, raw score ${outcome.rawScore.toPrecision(6)} (threshold ${outcome.threshold.toPrecision(6)}), ${outcome.flagged ? 'flagged' : 'not flagged'}; ${bundle.title}`
        : `${name}: not scored: ${outcome.reason}`,
    );
    if (outcome.status === 'not-scored') return;
    for (const remark of outcome.remarks ?? []) console.log(`  ${remark}`);
    for (const left of outcome.notScored ?? []) console.log(`  not scored: ${describe(left)}`);
  }
}

/** What has a score: a study, or a picture. */
type Scored = { studyInstanceUID: string } | { file: string };

function nameOf(of: Scored): string {
  return 'file' in of ? of.file : `study ${of.studyInstanceUID}`;
}

/** What became of a study. */
type StudyOutcome =
  | ({ status: 'scored' } & ScoreValues &
      Partial<Pick<SelectedSeries, 'seriesInstanceUID' | 'remarks' | 'notScored'>>)
  | { status: 'not-scored'; reason: string };

/** Every file below `paths`, in order; `named` are those that were given by name, not found in a folder. */
export async function filesIn(paths: string[]): Promise<{ path: string; named: boolean }[]> {
  const files: { path: string; named: boolean }[] = [];
  for (const path of paths) {
    if (!(await stat(path)).isDirectory()) {
      files.push({ path, named: true });
      continue;
    }
    const entries = await readdir(path, { recursive: true, withFileTypes: true });
    const found = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    files.push(...found.sort().map((file) => ({ path: file, named: false })));
  }
  return files;
}
