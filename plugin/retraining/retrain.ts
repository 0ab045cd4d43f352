import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bundle } from '../../inference/bundle/schema.ts';
import { FolderLockedError, lockFolder } from '../../inference/folder-lock.ts';
import { batchesPerEpoch, microBatchFor } from '../../training/batches.ts';
import { trainQfae, type QfaeTrainingOptions } from '../../training/train-qfae.ts';
import { version } from '../version.ts';
import { cachePath } from './data-set.ts';
import { evaluateCandidate } from './evaluate-candidate.ts';
import { prepareData, type PreparedData } from './prepare-data.ts';
import { readJudged, registerCandidate, settle, type JudgedCandidate } from './register-candidate.ts';
import type { RetrainContext } from './retrain-context.ts';
import { removeOldRuns, type RetrainingRun, type RunResult } from './run-folder.ts';

/** How long it is waited for another retraining to end. */
const lockMs = 120_000;

/**
 * A retraining from the first to the last step: data set, training, calibration, evaluation, gate, promotion. What an
 * earlier call has done is not done again. Returns undefined if the signal was aborted: the same call then goes on.
 *
 * @throws Error with the reason if it cannot be done: too few studies, mixed geometry, an archive that is away.
 */
export async function retrain(
  run: RetrainingRun,
  context: RetrainContext,
  signal: AbortSignal,
): Promise<RunResult | undefined> {
  const lock = await lockRuns(context.root, signal);
  try {
    const judged = (await readJudged(run.folder)) ?? (await judgedCandidate(run, context, signal));
    return judged && (await settle(run, context.root, judged));
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  } finally {
    await removeOldRuns(context.root, run, context.keepRuns);
    lock.release();
  }
}

async function judgedCandidate(
  run: RetrainingRun,
  context: RetrainContext,
  signal: AbortSignal,
): Promise<JudgedCandidate | undefined> {
  context.onStage('data set');
  const prepared = await prepareData(run, context, signal);
  context.onStage('training');
  const trained = await trainOn(run, context, prepared, signal);
  if (!trained) return undefined;
  context.onStage('evaluation');
  const evaluated = await evaluateCandidate(run, context, prepared, trained, signal);
  return registerCandidate(run, context.root, prepared, trained, evaluated);
}

/** One retraining at a time; one whose node was killed ends after its step, and is waited for. */
async function lockRuns(root: string, signal: AbortSignal): Promise<{ release(): void }> {
  const deadline = Date.now() + lockMs;
  for (;;) {
    try {
      return await lockFolder(join(root, 'runs'));
    } catch (error) {
      if (!(error instanceof FolderLockedError)) throw error;
      if (Date.now() > deadline)
        throw new Error('another retraining runs in this data folder', { cause: error });
      await sleep(500, undefined, { signal });
    }
  }
}

/** How a run trains. */
export function trainingOptions(
  { folder, request }: Pick<RetrainingRun, 'folder' | 'request'>,
  { root, provider }: Pick<RetrainContext, 'root' | 'provider'>,
  base: string,
): QfaeTrainingOptions {
  const { profile, loss, epochs, batchSize, microBatch, rate, seed, alpha, threads } = request;
  const { verticalFlip, checkpointEvery, checkpointing } = request;
  return {
    ...{ root, base, profile, loss, epochs, batchSize, seed, alpha, provider },
    ...{ verticalFlip, checkpointEvery, checkpointing },
    microBatch: microBatchFor(batchSize, microBatch),
    cacheFolder: cachePath(folder, 'normal'),
    runFolder: join(folder, 'training'),
    continueBase: request.continue,
    maximumRate: rate,
    heldOut: request.calibration,
    ...(threads !== undefined && { threads }),
    software: `qfae ${version}`,
  };
}

async function trainOn(
  run: RetrainingRun,
  context: RetrainContext,
  { base, split }: PreparedData,
  signal: AbortSignal,
): Promise<Bundle | undefined> {
  const { epochs, batchSize } = run.request;
  const totalSteps = epochs * batchesPerEpoch(split.training.length, batchSize);
  context.onPlan({ run: run.folder, totalSteps });
  const parts = { train: split.training, heldOut: split.calibration };
  return trainQfae(
    trainingOptions(run, context, base.id),
    { base, split: parts, totalSteps },
    context.onStep,
    signal,
  );
}
