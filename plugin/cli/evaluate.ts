import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import sharp from 'sharp';
import { DicomPool } from '../../dicom/pool.ts';
import type { Profile } from '../../inference/bundle/profiles.ts';
import { openBundle } from '../../inference/bundle/registry.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { Scorer } from '../../inference/scorer.ts';
import type { RawSliceScore } from '../../inference/scorer.ts';
import { bootstrapIntervals } from '../../training/metrics/bootstrap.ts';
import { histogramPicture, rocPicture } from '../../training/metrics/pictures.ts';
import { PixelMetricsAccumulator } from '../../training/metrics/pixel-metrics.ts';
import { rank, rankingMetrics, rocCurve } from '../../training/metrics/ranking.ts';
import { isPicture } from '../../training/pictures.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { dicomStudies } from '../scoring/readable-study.ts';
import { loadSettings } from '../settings.ts';
import { regularExpression, wholeNumber } from './arguments.ts';
import { pictureCase, studyCases } from './evaluation-cases.ts';
import type { EvaluatedSlice, EvaluationCase } from './evaluation-cases.ts';
import { bmadFolders, evaluationImages } from './evaluation-images.ts';
import { filesIn } from './score.ts';

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

/** `qfae evaluate`: how well a bundle tells normal from abnormal, and where it sees what is abnormal. */
export function evaluateCommand(): Command {
  return new Command('evaluate')
    .description('measure a bundle on normal and abnormal pictures (PNG, JPEG) or DICOM studies')
    .argument('[dataset]', 'folder in the layout of BMAD: test/{good,Ungood}/{img,label or anomaly_mask}')
    .option('--bundle <id>', 'bundle ID, or a name for the promoted one (default: the setting)')
    .option('--normal <folder>', 'normal pictures or studies')
    .option('--abnormal <folder>', 'abnormal pictures or studies')
    .option(
      '--masks <folder>',
      'ground truth, by the file names of abnormal pictures, or Segmentations of abnormal studies; missing: no abnormal pixel',
    )
    .addOption(
      new Option(
        '--patient <expression>',
        'on file names of pictures; its first group, or all that matches, is the patient',
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
      const settings = loadSettings();
      const { root } = openDataFolder(settings.data);
      await ensureShippedBundles(root);
      const bundle = await openBundle(root, options.bundle ?? settings.bundle);
      const pool = new DicomPool({ threads: settings.decoding.threads });
      try {
        const cases = await casesOf(dataset, options, pool, bundle.profile);
        const scorer = await Scorer.open(root, bundle.id, {
          ...(await chooseRuntime(settings.inference)),
          batchSize: options.batchSize ?? settings.inference.batchSize,
        });
        try {
          await evaluate(scorer, cases, options);
        } finally {
          await scorer.close();
        }
      } finally {
        await pool.close();
      }
    });
}

/** Everything that is found in the folders. Throws if one of them holds nothing that the profile scores. */
async function casesOf(
  dataset: string | undefined,
  options: EvaluateOptions,
  pool: DicomPool,
  profile: Profile,
): Promise<EvaluationCase[]> {
  const { normal, abnormal } =
    dataset === undefined ? { normal: options.normal!, abnormal: options.abnormal! } : bmadFolders(dataset);
  return [
    ...(await casesIn(normal, false, options, pool, profile)),
    ...(await casesIn(abnormal, true, options, pool, profile)),
  ];
}

async function casesIn(
  folder: string,
  abnormal: boolean,
  { patient, patientFolder, masks }: EvaluateOptions,
  pool: DicomPool,
  profile: Profile,
): Promise<EvaluationCase[]> {
  const studiesIn = async (folder: string) => {
    const paths = (await filesIn([folder])).map(({ path }) => path);
    const others = paths.filter((path) => !isPicture(path));
    return { pictures: others.length < paths.length, studies: await dicomStudies(pool, others) };
  };
  const { pictures, studies } = await studiesIn(folder);
  const marks = abnormal && masks !== undefined ? (await studiesIn(masks)).studies : new Map();
  const cases = await studyCases(pool, profile, studies, abnormal, marks, (uid, reason) => {
    console.error(`study ${uid} is left out: ${reason}`);
  });
  if (pictures) {
    const rule = patientFolder ? 'folder' : patient;
    const images = await evaluationImages(folder, abnormal, rule, abnormal ? masks : undefined);
    cases.push(...images.map(pictureCase));
  }
  if (cases.length > 0) return cases;
  throw new Error(`${folder} holds no PNG or JPEG picture, and no DICOM study that the bundle scores`);
}

async function evaluate(scorer: Scorer, cases: EvaluationCase[], options: EvaluateOptions): Promise<void> {
  const { scores, pixel } = await scoreCases(scorer, cases);
  const labels = cases.map(({ abnormal }) => (abnormal ? 1 : 0));
  const patients = cases.map(({ patient }) => patient);
  const ranked = rank(scores, labels);
  const image = rankingMetrics(ranked);
  const intervals = bootstrapIntervals({ scores, labels, patients }, { resamples: options.resamples });
  const [normal, abnormal] = [0, 1].map((label) => scores.filter((_, i) => labels[i] === label));

  if (options.out !== undefined) {
    await mkdir(options.out, { recursive: true });
    await draw(join(options.out, 'roc.png'), rocPicture(rocCurve(ranked)));
    const limit = scorer.bundle.calibration ? scorer.studyScore([{ rawScore: 0 }]).threshold : undefined;
    await draw(join(options.out, 'histogram.png'), histogramPicture(normal, abnormal, limit));
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
  console.log(
    `${scorer.bundle.id}: ${normal.length} normal and ${abnormal.length} abnormal pictures or studies`,
  );
  console.log(`image AUROC ${percent(image.auroc)} ${range(intervals.auroc)}`);
  console.log(`image AP    ${percent(image.averagePrecision)} ${range(intervals.averagePrecision)}`);
  console.log(
    pixel
      ? `pixel AUROC ${percent(pixel.auroc)}, AP ${percent(pixel.averagePrecision)}, PRO ${percent(pixel.pro)}`
      : 'no mask marks an abnormal pixel: nothing is said of pixels',
  );
}

/** Scores of the cases in their order, and what the maps say of their masks; neither slices nor maps are kept. */
async function scoreCases(scorer: Scorer, cases: EvaluationCase[]) {
  const running: { index: number; slice: Omit<EvaluatedSlice, 'pixels'> }[] = [];
  async function* slices() {
    for (const [index, { slices }] of cases.entries()) {
      for await (const { pixels, mask, ...slice } of slices()) {
        running.push({ index, slice });
        yield { ...slice, pixels, ...(mask && { mask }) };
      }
    }
  }
  const pixels = cases.some(({ masked }) => masked) ? new PixelMetricsAccumulator() : undefined;
  const scores = cases.map(() => -Infinity);
  for await (const score of scorer.scoreRaw(slices())) {
    const { index, slice } = running.shift()!;
    pixels?.add(score.map, truthOnGrid(slice, score), score.mapColumns);
    scores[index] = Math.max(scores[index], score.rawScore);
  }
  const metrics = pixels?.metrics();
  if (!metrics) return { scores, pixel: undefined };
  const { auroc, averagePrecision, pro } = metrics;
  return { scores, pixel: { auroc, averagePrecision, pro } };
}

/** The truth at the centres of the map's pixels; where the map goes beyond the slice nothing is abnormal. */
function truthOnGrid(
  { truth, rows, columns }: Omit<EvaluatedSlice, 'pixels'>,
  { mapRows, mapColumns, gridToSlice: [a, b, c, d, e, f] }: RawSliceScore,
): Uint8Array {
  const grid = new Uint8Array(mapRows * mapColumns);
  if (truth === undefined) return grid;
  for (let i = 0; i < grid.length; i++) {
    const [u, v] = [(i % mapColumns) + 0.5, Math.floor(i / mapColumns) + 0.5];
    const [x, y] = [Math.floor(a * u + b * v + c), Math.floor(d * u + e * v + f)];
    const inside = x >= 0 && x < columns && y >= 0 && y < rows;
    if (inside && truth[y * columns + x] !== 0) grid[i] = 1;
  }
  return grid;
}

async function draw(path: string, svg: string): Promise<void> {
  await sharp(Buffer.from(svg)).png().toFile(path);
}
