import { join } from 'node:path';
import { Command, Option } from 'commander';
import { microBatchFor } from '../../training/batches.ts';
import {
  planPretraining,
  pretrain,
  pretrainingModels,
  timePretrainingStep,
} from '../../training/pretrain.ts';
import type { PretrainingModelName } from '../../training/pretrain.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { loadSettings } from '../settings.ts';
import { version } from '../version.ts';
import { fraction, profileName, wholeNumber } from './arguments.ts';
import { printJson } from './print-json.ts';
import {
  addPictures,
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

interface PretrainOptions extends RunOptions {
  model: PretrainingModelName;
}

/** `qfae pretrain`: a small masked autoencoder from a slice cache, for sites without published weights. */
export function pretrainCommand(): Command {
  const whole = (flags: string, description: string, value: number) =>
    new Option(flags, description).argParser(wholeNumber).default(value);
  const share = (flags: string, description: string, value: number) =>
    new Option(flags, description).argParser(fraction).default(value);
  return new Command('pretrain')
    .description('train a small masked autoencoder on a cache and make a bundle of it that train starts from')
    .requiredOption('--cache <folder>', 'slice cache')
    .addOption(
      new Option('--profile <name>', 'profile of the bundle').argParser(profileName).makeOptionMandatory(),
    )
    .addOption(picturesOption())
    .addOption(patientPatternOption())
    .option('--run <folder>', 'checkpoints and log (default: in the data folder)')
    .addOption(new Option('--model <name>').choices(Object.keys(pretrainingModels)).default('small'))
    .addOption(whole('--epochs <n>', 'passes over the training slices', 300))
    .addOption(whole('--batch-size <n>', 'slices in an optimiser step', 64))
    .addOption(microBatchOption())
    .addOption(share('--rate <x>', 'largest learning rate', 4e-4))
    .addOption(whole('--seed <n>', 'of everything random', 1))
    .addOption(noVerticalFlipOption())
    .addOption(share('--held-out <x>', 'share of the patients held out', 0.2))
    .addOption(share('--alpha <x>', 'false-positive rate of the threshold', 0.05))
    .addOption(whole('--checkpoint-every <n>', 'steps between checkpoints', 100))
    .addOption(providerOption())
    .addOption(new Option('--threads <n>', 'threads of the model').argParser(wholeNumber))
    .option('--dry-run', 'say what would be done, how long it would take, and whether it can be')
    .option('--json', 'JSON lines on stdout')
    .action(run);
}

async function run({ pictures, patientPattern, model, ...rest }: PretrainOptions): Promise<void> {
  const { cache, run, rate, ...options } = rest;
  const microBatch = microBatchFor(options.batchSize, options.microBatch);
  const { root } = openDataFolder(loadSettings().data);
  await addPictures({ cache, ...(pictures && { pictures }), ...(patientPattern && { patientPattern }) });
  const { provider } = await chooseRuntime({ provider: options.provider, precision: 'float32' });
  const pretraining = {
    ...options,
    microBatch,
    provider,
    model: pretrainingModels[model],
    root,
    cacheFolder: cache,
    runFolder: run ?? join(root, 'runs', `${options.profile}-pretrain-${options.seed}`),
    maximumRate: rate,
    software: `qfae ${version}`,
  };
  const plan = await planPretraining(pretraining);
  const { totalSteps, split } = plan;
  const slices = split.train.length;
  const secondsPerStep = options.dryRun && (await timePretrainingStep(pretraining));
  if (options.json) {
    const time = secondsPerStep === undefined ? {} : { secondsPerStep };
    printJson({ type: 'plan', run: pretraining.runFolder, trainingSlices: slices, totalSteps, ...time });
  } else {
    console.log(`${totalSteps} steps over ${slices} slices; run in ${pretraining.runFolder}`);
    if (secondsPerStep !== undefined) console.log(expectedTime(secondsPerStep, totalSteps, provider));
  }
  if (options.dryRun) return;
  const made = await pretrain(pretraining, plan, stepReport(options.json, options.batchSize), stopSignal());
  if (!made) console.error(`ended early; the same command goes on from ${pretraining.runFolder}`);
  else if (options.json) printJson({ type: 'bundle', id: made.id });
  else console.log(`made ${made.id}; give it to train as --bundle`);
}
