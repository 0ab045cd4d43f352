import { join } from 'node:path';
import { Command, Option } from 'commander';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { microBatchFor } from '../../training/batches.ts';
import { lossNames } from '../../training/loss.ts';
import type { LossName } from '../../training/loss.ts';
import { planTraining, timeStep, trainQfae } from '../../training/train-qfae.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { loadSettings } from '../settings.ts';
import { version } from '../version.ts';
import { fraction, profileName, wholeNumber } from './arguments.ts';
import { printJson } from './print-json.ts';
import {
  addPictures,
  checkpointingOption,
  expectedTime,
  microBatchOption,
  noVerticalFlipOption,
  patientPatternOption,
  picturesOption,
  providerOption,
  type RunOptions,
} from './run-options.ts';
import { stepReport } from './step-report.ts';
import { stopSignal } from './stop-signal.ts';

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
    .addOption(microBatchOption())
    .addOption(option('--rate <x>', 'largest learning rate', fraction, 8e-5))
    .addOption(option('--seed <n>', 'of everything random', wholeNumber, 1))
    .addOption(noVerticalFlipOption())
    .addOption(option('--held-out <x>', 'share of the patients held out for calibration', fraction, 0.2))
    .addOption(option('--alpha <x>', 'false-positive rate of the threshold', fraction, 0.05))
    .addOption(option('--checkpoint-every <n>', 'steps between checkpoints', wholeNumber, 100))
    .addOption(providerOption())
    .addOption(checkpointingOption())
    .addOption(option('--threads <n>', 'threads of the model', wholeNumber))
    .option('--dry-run', 'say what would be done, how long it would take, and whether it can be')
    .option('--json', 'JSON lines on stdout')
    .action(run);
}

async function run(options: TrainOptions): Promise<void> {
  const microBatch = microBatchFor(options.batchSize, options.microBatch);
  const { root } = openDataFolder(loadSettings().data);
  await ensureShippedBundles(root);
  await addPictures(options);
  const { cache, profile, run, bundle, continue: continueBase = false, rate, ...rest } = options;
  const { provider } = await chooseRuntime({ provider: options.provider, precision: 'float32' });
  const training = {
    ...rest,
    microBatch,
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
