import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { executionProviders } from '../../inference/execution-provider.ts';
import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { nameSchema } from '../../inference/bundle/schema.ts';
import { lossNames } from '../../training/loss.ts';
import type { LossName } from '../../training/loss.ts';
import { normalPictures } from '../../training/pictures.ts';
import { addSlices } from '../../training/slice-cache.ts';
import { planTraining, timeStep, trainQfae } from '../../training/train-qfae.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { loadSettings } from '../settings.ts';
import { version } from '../version.ts';
import { wholeNumber } from './arguments.ts';
import { stepReport } from './step-report.ts';

/** What `train` and `pretrain` are both told. */
export interface RunOptions {
  cache: string;
  profile: string;
  pictures?: string;
  patientPattern?: RegExp;
  run?: string;
  epochs: number;
  batchSize: number;
  microBatch: number;
  rate: number;
  seed: number;
  heldOut: number;
  alpha: number;
  checkpointEvery: number;
  verticalFlip: boolean;
  provider: 'auto' | ExecutionProvider;
  threads?: number;
  dryRun?: true;
  json?: true;
}

interface TrainOptions extends RunOptions {
  bundle?: string;
  continue?: true;
  loss: LossName;
  checkpointing?: true;
}

/** `qfae train`: trains on a slice cache, in this process, and adds a calibrated bundle. */
export function trainCommand(): Command {
  const option = (flags: string, description: string, parse: (text: string) => unknown, value?: unknown) => {
    const made = new Option(flags, description).argParser(parse);
    return value === undefined ? made : made.default(value);
  };
  return new Command('train')
    .description(
      'train on the normal slices of a cache and make a calibrated bundle; goes on where it was ended',
    )
    .requiredOption('--cache <folder>', 'slice cache')
    .addOption(option('--profile <name>', 'profile of the bundle', profileName).makeOptionMandatory())
    .option('--bundle <id>', 'bundle that gives model and frozen weights (default: the profile’s)')
    .option('--continue', 'start from the trained weights of that bundle')
    .addOption(picturesOption())
    .addOption(patientPatternOption())
    .option('--run <folder>', 'checkpoints, log and pictures (default: in the data folder)')
    .addOption(new Option('--loss <name>').choices(lossNames).default('perceptual'))
    .addOption(option('--epochs <n>', 'passes over the training slices', wholeNumber, 300))
    .addOption(option('--batch-size <n>', 'slices in an optimiser step', wholeNumber, 64))
    .addOption(option('--micro-batch <n>', 'slices in one run of the graph', wholeNumber, 4))
    .addOption(option('--rate <x>', 'largest learning rate', fraction, 8e-5))
    .addOption(option('--seed <n>', 'of everything random', wholeNumber, 1))
    .addOption(noVerticalFlipOption())
    .addOption(option('--held-out <x>', 'share of the patients held out for calibration', fraction, 0.2))
    .addOption(option('--alpha <x>', 'false-positive rate of the threshold', fraction, 0.05))
    .addOption(option('--checkpoint-every <n>', 'steps between checkpoints', wholeNumber, 100))
    .addOption(providerOption())
    .option('--checkpointing', 'compute decoder blocks twice: less memory for more time')
    .addOption(option('--threads <n>', 'threads of the model', wholeNumber))
    .option('--dry-run', 'say what would be done, how long it would take, and whether it can be')
    .option('--json', 'JSON lines on stdout')
    .action(run);
}

async function run(options: TrainOptions): Promise<void> {
  const { root } = openDataFolder(loadSettings().data);
  await ensureShippedBundles(root);
  await addPictures(options);
  const { cache, profile, run, bundle, continue: continueBase = false, rate, ...rest } = options;
  const { provider } = await chooseRuntime({ provider: options.provider, precision: 'float32' });
  const training = {
    ...rest,
    provider,
    root,
    cacheFolder: cache,
    profile,
    runFolder: run ?? join(root, 'runs', `${profile}-${options.seed}`),
    base: bundle ?? profile,
    continueBase,
    maximumRate: rate,
    software: `qfae ${version}`,
  };
  const plan = await planTraining(training);
  const secondsPerStep = options.dryRun && (await timeStep(training, plan));
  const { trainingPatients, heldOutPatients, totalSteps, trainedValues } = plan;
  const summary = { trainingPatients, heldOutPatients, totalSteps, trainedValues };
  if (options.json) {
    const time = secondsPerStep === undefined ? {} : { secondsPerStep };
    printJson({ type: 'plan', base: plan.base.id, run: training.runFolder, ...summary, ...time });
  } else {
    console.log(
      `${trainedValues} values of ${plan.base.id}, ${totalSteps} steps of ${options.batchSize} slices; patients: ${trainingPatients} to train, ${heldOutPatients} to calibrate; run in ${training.runFolder}`,
    );
    if (secondsPerStep !== undefined) console.log(expectedTime(secondsPerStep, totalSteps, provider));
  }
  if (options.dryRun) return;

  const made = await trainQfae(training, plan, stepReport(options.json, options.batchSize), stopSignal());
  if (!made) console.error(`ended early; the same command goes on from ${training.runFolder}`);
  else if (options.json) printJson({ type: 'bundle', id: made.id });
  else console.log(`made ${made.id}; it scores once it is promoted`);
}

/** What a dry run says of a run's time. */
export function expectedTime(
  secondsPerStep: number,
  totalSteps: number,
  provider: ExecutionProvider,
): string {
  const hours = (secondsPerStep * totalSteps) / 3600;
  return `${secondsPerStep.toPrecision(3)} s a step, tried just now with ${provider}: about ${hours.toPrecision(3)} h`;
}

export function picturesOption(): Option {
  return new Option(
    '--pictures <folder>',
    'first add these normal pictures (a folder, or BMAD’s layout) to the cache',
  );
}

export function providerOption(): Option {
  return new Option(
    '--provider <name>',
    'where it is computed: the first of them that works, or the one named',
  )
    .choices(['auto', ...executionProviders])
    .default('auto');
}

export function noVerticalFlipOption(): Option {
  return new Option('--no-vertical-flip', 'for what is never upside down');
}

export function patientPatternOption(): Option {
  return new Option(
    '--patient-pattern <regex>',
    'its first group is the patient in a picture’s name',
  ).argParser(pattern);
}

/** Adds the pictures of `--pictures`, if any, to the slice cache. */
export async function addPictures(options: {
  cache: string;
  pictures?: string;
  patientPattern?: RegExp;
}): Promise<void> {
  if (options.pictures === undefined) return;
  const pictures = normalPictures(options.pictures, options.patientPattern);
  const { added, duplicates } = await addSlices(options.cache, pictures);
  console.error(`${added} slices added to ${options.cache}, ${duplicates} were there`);
}

/** Aborted by SIGINT, SIGTERM and the end of the process that started this: the run then ends after its step. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'disconnect'] as const) {
    process.once(name, () => {
      console.error('ending after this step');
      stop.abort();
    });
  }
  if (process.channel) {
    // Listening for its end alone does not keep this process running, and nobody reads on when it has come.
    process.channel.unref();
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  }
  return stop.signal;
}

/** One JSON line on stdout. */
export function printJson(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** An option's value as the name of a profile. */
export function profileName(text: string): string {
  if (!nameSchema.safeParse(text).success) {
    throw new InvalidArgumentError('lower-case letters, digits and hyphens only');
  }
  return text;
}

/** An option's value as a number between 0 and 1. */
export function fraction(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('not a number between 0 and 1');
  return value;
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
