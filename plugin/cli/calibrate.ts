import { Command, Option } from 'commander';
import { DicomPool } from '../../dicom/pool.ts';
import { calibratedFrom } from '../../inference/bundle/calibrated.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { Scorer } from '../../inference/scorer.ts';
import { sampleSlices } from '../../inference/slice-sampling.ts';
import { isPicture } from '../../training/pictures.ts';
import { SliceCache } from '../../training/slice-cache.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { dicomStudies, pictureStudies, readableStudy } from '../scoring/readable-study.ts';
import type { ReadableStudy } from '../scoring/readable-study.ts';
import { loadSettings } from '../settings.ts';
import { fraction, regularExpression, wholeNumber } from './arguments.ts';
import { evaluationImages } from './evaluation-images.ts';
import { filesIn } from './score.ts';
import { printJson } from './print-json.ts';

interface CalibrateOptions {
  bundle: string;
  normal?: string;
  cache?: string;
  patient?: RegExp;
  patientFolder?: true;
  alpha: number;
  batchSize?: number;
  json?: true;
}

/** `qfae calibrate`: what a bundle's scores mean, from studies that are known to be normal. */
export function calibrateCommand(): Command {
  return new Command('calibrate')
    .description('make a bundle that compares its scores with those of these normal studies')
    .requiredOption('--bundle <id>', 'bundle ID, or a name for the promoted one')
    .option('--normal <folder>', 'normal studies: DICOM files, or PNG and JPEG pictures')
    .addOption(new Option('--cache <folder>', 'normal slices of a slice cache').conflicts('normal'))
    .addOption(
      new Option(
        '--patient <expression>',
        'on names of pictures; its first group, or the match, is the patient',
      )
        .argParser(regularExpression)
        .conflicts('patientFolder'),
    )
    .option('--patient-folder', 'pictures in one folder are of one patient (default: each is a patient)')
    .addOption(
      new Option('--alpha <x>', 'false-positive rate of the threshold').argParser(fraction).default(0.05),
    )
    .addOption(new Option('--batch-size <n>', 'slices in one run of the model').argParser(wholeNumber))
    .option('--json', 'JSON lines on stdout')
    .action(async (options: CalibrateOptions, command: Command) => {
      if (options.normal === undefined && options.cache === undefined) {
        command.error('error: give --normal or --cache');
      }
      await calibrate(options);
    });
}

async function calibrate(options: CalibrateOptions): Promise<void> {
  const settings = loadSettings();
  const { root } = openDataFolder(settings.data);
  await ensureShippedBundles(root);
  const pool = new DicomPool({ threads: settings.decoding.threads });
  const cache = options.cache === undefined ? undefined : await SliceCache.open(options.cache);
  const scorer = await Scorer.open(root, options.bundle, {
    ...(await chooseRuntime(settings.inference)),
    batchSize: options.batchSize ?? settings.inference.batchSize,
  });
  try {
    const studies = cache
      ? cachedStudies(cache, scorer)
      : await studiesIn(options.normal!, pool, scorer, options);
    const made = await calibratedFrom(root, scorer, studies, options.alpha, (done) => {
      if (done === studies.length || done % Math.ceil(studies.length / 20) === 0) {
        console.error(`${done} of ${studies.length} studies`);
      }
    });
    const patients = made.provenance.calibrationStudies;
    if (options.json) printJson({ type: 'bundle', action: 'calibrated', id: made.id, patients });
    else console.log(`made ${made.id}, calibrated on ${patients} patients; it scores once it is promoted`);
  } finally {
    await scorer.close();
    await cache?.close();
    await pool.close();
  }
}

/** The studies of a slice cache. */
function cachedStudies(cache: SliceCache, { bundle: { profile } }: Scorer): ReadableStudy[] {
  return [...Map.groupBy(cache.slices, ({ study }) => study).values()].map((slices) => ({
    patient: slices[0].patient,
    async *slices() {
      for (const i of sampleSlices(slices.length, profile)) yield await cache.read(slices[i]);
    },
  }));
}

/** The pictures of a folder by patient, and its DICOM studies; those that the profile does not score are told. */
async function studiesIn(
  folder: string,
  pool: DicomPool,
  { bundle: { profile } }: Scorer,
  { patient, patientFolder }: CalibrateOptions,
): Promise<ReadableStudy[]> {
  const paths = (await filesIn([folder])).map(({ path }) => path);
  const pictures = paths.some(isPicture)
    ? await evaluationImages(folder, false, patientFolder ? 'folder' : patient)
    : [];
  const studies = pictureStudies(pictures, profile);
  const others = paths.filter((path) => !isPicture(path));
  for (const [studyInstanceUID, instances] of await dicomStudies(pool, others)) {
    const study = await readableStudy(pool, profile, instances);
    if ('reason' in study) console.error(`study ${studyInstanceUID} is left out: ${study.reason}`);
    else studies.push(study);
  }
  return studies;
}
