import { Command, Option } from 'commander';
import { z } from 'zod';
import { DicomPool } from '../../dicom/pool.ts';
import type { ExecutionProvider } from '../../inference/execution-provider.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { lossNames } from '../../training/loss.ts';
import { picturesIn } from '../../training/pictures.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { studiesJudged } from '../feedback/feedback.ts';
import { chooseStudies, type ChoiceContext } from '../retraining/choose-studies.ts';
import { planRetraining, type RetrainingPlan } from '../retraining/expected-time.ts';
import { retrainingRequestSchema, type RetrainingRequest } from '../retraining/request.ts';
import { retrain } from '../retraining/retrain.ts';
import type { RetrainContext } from '../retraining/retrain-context.ts';
import { retrainingArchives } from '../retraining/retraining-archives.ts';
import { beginRun, openRun } from '../retraining/run-folder.ts';
import type { RunResult } from '../retraining/run-folder.ts';
import { loadSettings } from '../settings.ts';
import { fraction, profileName, wholeNumber } from './arguments.ts';
import { withNodeOrDatabase } from './node-or-database.ts';
import { tellOwnPatients } from './own-patients.ts';
import { printJson } from './print-json.ts';
import {
  checkpointingOption,
  microBatchOption,
  noVerticalFlipOption,
  PATIENT_PATTERN,
  providerOption,
} from './run-options.ts';
import { stepReport } from './step-report.ts';
import { stopSignal } from './stop-signal.ts';

interface RetrainOptions {
  profile?: string;
  run?: string;
  archive: string;
  provider: 'auto' | ExecutionProvider;
  dryRun?: true;
  json?: true;
  [option: string]: unknown;
}

/** `qfae retrain`: from an archive's normal studies to a bundle that has passed the gate, or has not. */
export function retrainCommand(): Command {
  const number = (flags: string, description: string) =>
    new Option(flags, description).argParser(wholeNumber);
  const share = (flags: string, description: string) => new Option(flags, description).argParser(fraction);
  return new Command('retrain')
    .description(
      'train on normal studies of an archive, evaluate, and promote what passes the gate; goes on where it was ended',
    )
    .addOption(new Option('--profile <name>', 'profile to train for').argParser(profileName))
    .option('--archive <name>', 'where the studies are', 'orthanc')
    .option('--studies <file>', 'normal: the StudyInstanceUIDs of a file')
    .option(
      '--query <keys>',
      'normal: matching keys of QIDO-RS, as "StudyDate=20260101-&ModalitiesInStudy=CR"',
    )
    .option('--folder <folder>', 'normal: DICOM files, or pictures')
    .option('--patient-pattern <regex>', 'its first group is the patient in a picture’s name')
    .option('--label <label>', 'normal: Orthanc’s label')
    .option('--metadata <name=value>', 'normal: Orthanc’s metadata')
    .option('--feedback', 'normal: what readers called normal')
    .option('--abnormal-studies <file>', 'abnormal, to evaluate by: likewise')
    .option('--abnormal-query <keys>')
    .option('--abnormal-folder <folder>')
    .option('--abnormal-label <label>')
    .option('--abnormal-metadata <name=value>')
    .option('--abnormal-feedback')
    .addOption(number('--limit <n>', 'at most so many normal studies'))
    .option('--bundle <id>', 'bundle that gives model and frozen weights (default: the profile’s)')
    .option('--continue', 'start from the trained weights of that bundle')
    .option('--accept-mixed', 'take studies of different geometry')
    .addOption(new Option('--loss <name>', '(perceptual)').choices(lossNames))
    .addOption(number('--epochs <n>', 'passes over the training slices (300)'))
    .addOption(number('--batch-size <n>', 'slices in an optimiser step (64)'))
    .addOption(microBatchOption())
    .addOption(share('--rate <x>', 'largest learning rate (8e-5)'))
    .addOption(number('--seed <n>', 'of everything random (1)'))
    .addOption(noVerticalFlipOption())
    .addOption(share('--alpha <x>', 'false-positive rate of the threshold (0.05)'))
    .addOption(number('--threads <n>', 'threads of the model'))
    .addOption(providerOption())
    .addOption(checkpointingOption())
    .option('--no-promote', 'keep the bundle as a candidate, whatever the gate says')
    .option('--shadow', 'let a candidate that is not promoted score in shadow')
    .addOption(new Option('--run <folder>', 'go on with this run').conflicts(['profile', 'dryRun']))
    .option('--dry-run', 'say what would be done, how long it would take, and whether it can be')
    .option('--json', 'JSON lines on stdout')
    .action(async (options: RetrainOptions, command: Command) => {
      if ((options.profile === undefined) === (options.run === undefined)) {
        command.error('error: give --profile, or --run to go on with a run');
      }
      await run(options, options.run === undefined ? requestOf(options, command) : undefined);
    });
}

/** What the options ask for. What they leave out has the defaults of the schema. */
function requestOf(options: RetrainOptions, command: Command): RetrainingRequest {
  const given = (values: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
  const { archive, patientPattern, studies, query, folder, label, metadata, feedback } = options;
  const {
    abnormalStudies,
    abnormalQuery,
    abnormalFolder,
    abnormalLabel,
    abnormalMetadata,
    abnormalFeedback,
  } = options;
  const abnormal = given({
    studies: abnormalStudies,
    query: abnormalQuery,
    folder: abnormalFolder,
    label: abnormalLabel,
    metadata: abnormalMetadata,
    feedback: abnormalFeedback,
  });
  const { profile, limit, bundle, epochs, batchSize, microBatch, rate, seed, alpha, threads } = options;
  const parsed = retrainingRequestSchema.safeParse(
    given({
      ...{ profile, limit, bundle, epochs, batchSize, microBatch, rate, seed, alpha, threads },
      normal: given({ archive, patientPattern, studies, query, folder, label, metadata, feedback }),
      abnormal:
        Object.keys(abnormal).length > 0 ? given({ archive, patientPattern, ...abnormal }) : undefined,
      ...{ loss: options['loss'], verticalFlip: options['verticalFlip'] },
      checkpointing: options['checkpointing'],
      continue: options['continue'],
      mixedGeometry: options['acceptMixed'] === true ? 'accept' : undefined,
      promote: options['promote'],
      shadow: options['shadow'],
    }),
  );
  if (parsed.success) return parsed.data;
  return command.error(`error: ${z.prettifyError(parsed.error)}`);
}

async function run(options: RetrainOptions, request: RetrainingRequest | undefined): Promise<void> {
  const { json } = options;
  const settings = loadSettings();
  const folder = openDataFolder(settings.data);
  await ensureShippedBundles(folder.root);
  const archives = await retrainingArchives(settings);
  const pool = new DicomPool({
    threads: settings.decoding.threads,
    timeoutMs: settings.decoding.timeoutSeconds * 1000,
  });
  const signal = stopSignal();
  try {
    const { provider } = await chooseRuntime({ provider: options.provider, precision: 'float32' });
    const context: Omit<RetrainContext, 'onStep'> = {
      ...{ root: folder.root, archives: archives.sources, pool, provider },
      keepRuns: settings.retraining.keepRuns,
      scorer: {
        ...(await chooseRuntime(settings.inference)),
        batchSize: settings.inference.batchSize,
      },
      onStage(stage) {
        if (json) printJson({ type: 'stage', stage });
        else console.error(`${stage} …`);
      },
      onStudy({ leftOut, study }, done, of) {
        if (json) printJson({ type: 'study', done, of, ...(leftOut !== undefined && { leftOut }) });
        else if (leftOut !== undefined) console.error(`${study} is left out: ${leftOut}`);
        else if (done === of || done % Math.ceil(of / 20) === 0) console.error(`${done} of ${of} studies`);
      },
      onPlan(plan) {
        if (json) printJson({ type: 'plan', ...plan });
      },
    };
    if (request !== undefined) await tellPatients(request);
    if (options.dryRun) {
      const chosen = await chooseStudies(request!, await choiceContext(archives.sources));
      const tried = { ...context, onStep: () => undefined };
      tellPlan(await planRetraining({ request: request!, chosen }, tried, folder.work), json);
      return;
    }
    const started =
      request === undefined
        ? await openRun(options.run!)
        : await beginRun(folder.root, request, async () =>
            chooseStudies(request, await choiceContext(archives.sources)),
          );
    const onStep = stepReport(json, started.request.batchSize);
    const result = await retrain(started, { ...context, onStep }, signal);
    if (!result) console.error(`ended early; the same command goes on from ${started.folder}`);
    else tellResult(result, json);
  } finally {
    await pool.close();
    await archives.close();
  }
}

/** Says where no pattern tells whose the pictures of a folder are. */
async function tellPatients({ normal, abnormal }: RetrainingRequest): Promise<void> {
  for (const { folder, patientPattern } of [normal, ...(abnormal ? [abnormal] : [])]) {
    if (folder === undefined || patientPattern !== undefined) continue;
    const pictures = await picturesIn(folder);
    if (pictures.length > 0) tellOwnPatients(folder, pictures.length, PATIENT_PATTERN);
  }
}

/** What readers said comes from the node that runs, or from the database that none has open. */
async function choiceContext(archives: ChoiceContext['archives']): Promise<ChoiceContext> {
  type Judged = Awaited<ReturnType<ChoiceContext['judged']>>;
  const judged: Partial<Record<string, Judged>> = {};
  const labels = ['normal', 'abnormal', 'artefact'] as const;
  await withNodeOrDatabase(
    async (call) => {
      for (const label of labels) {
        const { studies } = (await call('GET', `/feedback?label=${label}`)) as { studies: Judged };
        judged[label] = studies;
      }
    },
    async ({ database }) => {
      for (const label of labels) judged[label] = await studiesJudged(database, label);
    },
  );
  return { archives, judged: (label) => Promise.resolve(judged[label] ?? []) };
}

function tellPlan(plan: RetrainingPlan, json: true | undefined): void {
  if (json) {
    printJson({ type: 'plan', ...plan });
    return;
  }
  const { base, promoted, normalStudies, abnormalStudies, patients, totalSteps, problems, seconds } = plan;
  const { training, calibration, evaluation } = patients;
  const hours = (value: number) => `${(value / 3600).toPrecision(2)} h`;
  console.log(
    `model and frozen weights of ${base}; compared with ${promoted ?? 'nothing: none is promoted'}`,
  );
  console.log(
    `${normalStudies} normal studies (if each is another patient’s: ${training} to train, ${calibration} to calibrate, ${evaluation} to evaluate), ${abnormalStudies} abnormal; ${totalSteps} steps`,
  );
  for (const problem of problems) console.log(`of the studies that were tried: ${problem}`);
  console.log(
    `tried just now: about ${hours(seconds.dataSet)} to fetch, ${hours(seconds.training)} to train, ${hours(seconds.evaluation)} to evaluate`,
  );
}

function tellResult({ bundle, outcome, reason }: RunResult, json: true | undefined): void {
  if (json) printJson({ type: 'bundle', id: bundle, outcome, reason });
  else if (outcome === 'promoted') console.log(`made ${bundle}; it passed the gate and scores now`);
  else console.log(`made ${bundle}, a candidate: ${reason ?? ''}`);
}
