import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import sharp from 'sharp';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { Scorer } from '../../inference/scorer.ts';
import type { InputSlice, SliceScore } from '../../inference/scorer.ts';
import { bootstrapIntervals } from '../../training/metrics/bootstrap.ts';
import { histogramPicture, rocPicture } from '../../training/metrics/pictures.ts';
import { PixelMetricsAccumulator } from '../../training/metrics/pixel-metrics.ts';
import { rank, rankingMetrics, rocCurve } from '../../training/metrics/ranking.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { readPicture } from '../scoring/picture.ts';
import { loadSettings } from '../settings.ts';
import { wholeNumber } from './arguments.ts';
import { bmadFolders, evaluationImages } from './evaluation-images.ts';
import type { EvaluationImage } from './evaluation-images.ts';

interface EvaluateOptions {
  bundle?: string;
  normal?: string;
  abnormal?: string;
  masks?: string;
  patient?: RegExp;
  patientFolder?: true;
  out?: string;
  resamples: number;
  batchSize?: number;
  json?: true;
}

/** From here a byte of a mask is abnormal: values above 0.01, as in the released code. */
const MASK_FROM = 3;

/** `qfae evaluate`: how well a bundle tells normal from abnormal pictures, and where it sees what is abnormal. */
export function evaluateCommand(): Command {
  return new Command('evaluate')
    .description('measure a bundle on normal and abnormal PNG and JPEG pictures')
    .argument('[dataset]', 'folder in the layout of BMAD: test/{good,Ungood}/{img,label or anomaly_mask}')
    .option('--bundle <id>', 'bundle ID, or a name for the promoted one (default: the setting)')
    .option('--normal <folder>', 'normal pictures')
    .option('--abnormal <folder>', 'abnormal pictures')
    .option(
      '--masks <folder>',
      'ground truth, by the file names of abnormal pictures; missing: no abnormal pixel',
    )
    .addOption(
      new Option(
        '--patient <expression>',
        'on file names; its first group, or all that matches, is the patient',
      )
        .argParser(regularExpression)
        .conflicts('patientFolder'),
    )
    .option('--patient-folder', 'pictures in one folder are of one patient (default: each is a patient)')
    .option('--out <folder>', 'write roc.png and histogram.png here')
    .addOption(new Option('--resamples <n>', 'draws of the bootstrap').argParser(wholeNumber).default(2000))
    .addOption(new Option('--batch-size <n>', 'pictures in one run of the model').argParser(wholeNumber))
    .option('--json', 'JSON lines on stdout')
    .action(async (dataset: string | undefined, options: EvaluateOptions, command: Command) => {
      const folders = [options.normal, options.abnormal].filter((folder) => folder !== undefined);
      if (folders.length !== (dataset === undefined ? 2 : 0)) {
        command.error('error: give a data set, or --normal and --abnormal');
      }
      const images = await imagesOf(dataset, options);
      const settings = loadSettings();
      const { root } = openDataFolder(settings.data);
      await ensureShippedBundles(root);
      const scorer = await Scorer.open(root, options.bundle ?? settings.bundle, {
        ...(await chooseRuntime(settings.inference)),
        batchSize: options.batchSize ?? settings.inference.batchSize,
      });
      try {
        await evaluate(scorer, images, options);
      } finally {
        await scorer.close();
      }
    });
}

/** An option's value as a regular expression. */
export function regularExpression(text: string): RegExp {
  try {
    return new RegExp(text, 'u');
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

async function imagesOf(dataset: string | undefined, options: EvaluateOptions): Promise<EvaluationImage[]> {
  const patient = options.patientFolder ? 'folder' : options.patient;
  const { normal, abnormal } =
    dataset === undefined ? { normal: options.normal!, abnormal: options.abnormal! } : bmadFolders(dataset);
  return [
    ...(await evaluationImages(normal, false, patient)),
    ...(await evaluationImages(abnormal, true, patient, options.masks)),
  ];
}

async function evaluate(scorer: Scorer, images: EvaluationImage[], options: EvaluateOptions): Promise<void> {
  const { scores, pixel } = await scoreImages(scorer, images);
  const labels = images.map(({ abnormal }) => (abnormal ? 1 : 0));
  const patients = images.map(({ patient }) => patient);
  const ranked = rank(scores, labels);
  const image = rankingMetrics(ranked);
  const intervals = bootstrapIntervals({ scores, labels, patients }, { resamples: options.resamples });
  const [normal, abnormal] = [0, 1].map((label) => scores.filter((_, i) => labels[i] === label));
  const { threshold } = scorer.studyScore([{ rawScore: 0 }]);

  if (options.out !== undefined) {
    await mkdir(options.out, { recursive: true });
    await draw(join(options.out, 'roc.png'), rocPicture(rocCurve(ranked)));
    await draw(join(options.out, 'histogram.png'), histogramPicture(normal, abnormal, threshold));
  }
  if (options.json) {
    const line = {
      type: 'evaluation',
      bundle: scorer.bundle.id,
      image: {
        auroc: image.auroc,
        aurocInterval: intervals.auroc,
        averagePrecision: image.averagePrecision,
        averagePrecisionInterval: intervals.averagePrecision,
      },
      pixel: pixel ?? null,
      normal: normal.length,
      abnormal: abnormal.length,
      patients: new Set(patients).size,
    };
    console.log(JSON.stringify(line));
    return;
  }
  const percent = (value: number) => (100 * value).toFixed(1);
  const range = ([low, high]: readonly [number, number]) => `(95 %: ${percent(low)} to ${percent(high)})`;
  console.log(`${scorer.bundle.id}: ${normal.length} normal and ${abnormal.length} abnormal pictures`);
  console.log(`image AUROC ${percent(image.auroc)} ${range(intervals.auroc)}`);
  console.log(`image AP    ${percent(image.averagePrecision)} ${range(intervals.averagePrecision)}`);
  console.log(
    pixel
      ? `pixel AUROC ${percent(pixel.auroc)}, AP ${percent(pixel.averagePrecision)}, PRO ${percent(pixel.pro)}`
      : 'no mask marks an abnormal pixel: nothing is said of pixels',
  );
}

/** Scores of the pictures in their order, and what the maps say of their masks; neither pictures nor maps are kept. */
async function scoreImages(scorer: Scorer, images: EvaluationImage[]) {
  const sizes: Pick<InputSlice, 'rows' | 'columns'>[] = [];
  async function* pictures() {
    for (const { path } of images) {
      const slice = await readPicture(path);
      sizes.push({ rows: slice.rows, columns: slice.columns });
      yield slice;
    }
  }
  const masked = images.some(({ mask }) => mask !== undefined);
  const pixels = masked ? new PixelMetricsAccumulator() : undefined;
  const scores: number[] = [];
  for await (const score of scorer.score(pictures())) {
    const image = images[scores.length];
    const mask = pixels && (await maskOnGrid(image, sizes[scores.length], score));
    if (mask) pixels.add(score.map, mask, score.mapColumns);
    scores.push(score.rawScore);
  }
  const metrics = pixels?.metrics();
  if (!metrics) return { scores, pixel: undefined };
  const { auroc, averagePrecision, pro } = metrics;
  return { scores, pixel: { auroc, averagePrecision, pro } };
}

/** The mask at the centres of the map's pixels; where the map goes beyond the picture nothing is abnormal. */
async function maskOnGrid(
  { mask }: EvaluationImage,
  { rows, columns }: Pick<InputSlice, 'rows' | 'columns'>,
  { mapRows, mapColumns, gridToSlice: [a, b, c, d, e, f] }: SliceScore,
): Promise<Uint8Array> {
  const grid = new Uint8Array(mapRows * mapColumns);
  if (mask === undefined) return grid;
  const truth = await readPicture(mask);
  for (let i = 0; i < grid.length; i++) {
    const [u, v] = [(i % mapColumns) + 0.5, Math.floor(i / mapColumns) + 0.5];
    const [x, y] = [Math.floor(a * u + b * v + c), Math.floor(d * u + e * v + f)];
    const inside = x >= 0 && x < columns && y >= 0 && y < rows;
    if (inside && truth.pixels[y * columns + x] >= MASK_FROM) grid[i] = 1;
  }
  return grid;
}

async function draw(path: string, svg: string): Promise<void> {
  await sharp(Buffer.from(svg)).png().toFile(path);
}
