import { Option } from 'commander';
import { executionProviders } from '../../inference/execution-provider.ts';
import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import { normalPictures } from '../../training/pictures.ts';
import { addSlices } from '../../training/slice-cache.ts';
import { regularExpression, wholeNumber } from './arguments.ts';
import { tellOwnPatients } from './own-patients.ts';

/** What `train` and `pretrain` are both told. */
export interface RunOptions {
  cache: string;
  profile: string;
  pictures?: string;
  patientPattern?: RegExp;
  run?: string;
  epochs: number;
  batchSize: number;
  microBatch?: number;
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

export function microBatchOption(): Option {
  return new Option(
    '--micro-batch <n>',
    'slices in one run of the graph (default: the largest up to 4 that divides the batch)',
  ).argParser(wholeNumber);
}

export function checkpointingOption(): Option {
  return new Option('--checkpointing', 'compute decoder blocks twice: less memory for more time');
}

export function noVerticalFlipOption(): Option {
  return new Option('--no-vertical-flip', 'for what is never upside down');
}

/** The option of training by which names of pictures tell their patients. */
export const PATIENT_PATTERN = '--patient-pattern REGEX';

export function patientPatternOption(): Option {
  return new Option(
    '--patient-pattern <regex>',
    'its first group is the patient in a picture’s name',
  ).argParser(regularExpression);
}

/** Adds the pictures of `--pictures`, if any, to the slice cache. */
export async function addPictures(options: {
  cache: string;
  pictures?: string;
  patientPattern?: RegExp;
}): Promise<void> {
  const { cache, pictures: folder, patientPattern } = options;
  if (folder === undefined) return;
  const { added, duplicates } = await addSlices(cache, normalPictures(folder, patientPattern));
  console.error(`${added} slices added to ${cache}, ${duplicates} were there`);
  if (!patientPattern) tellOwnPatients(folder, added + duplicates, PATIENT_PATTERN);
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
