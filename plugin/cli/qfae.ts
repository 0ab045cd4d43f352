#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { SettingsError } from '../settings.ts';
import { version } from '../version.ts';
import { backupCommand, restoreCommand } from './backup.ts';
import { exportCommand } from './export.ts';
import { backfillCommand, rescoreCommand } from './backfill.ts';
import { bundlesCommand } from './bundles.ts';
import { calibrateCommand } from './calibrate.ts';
import { doctorCommand } from './doctor.ts';
import { evaluateCommand } from './evaluate.ts';
import { gpuCommand } from './gpu.ts';
import { initCommand } from './init.ts';
import { jobsCommand } from './jobs.ts';
import { pretrainCommand } from './pretrain.ts';
import { reindexCommand } from './reindex.ts';
import { retrainCommand } from './retrain.ts';
import { reportCommand } from './report.ts';
import { rulesCommand } from './rules.ts';
import { scheduleCommand } from './schedule.ts';
import { scoreCommand } from './score.ts';
import { serveCommand } from './serve.ts';
import { tokenCommand } from './token.ts';
import { trainCommand } from './train.ts';
import { workerCommand } from './worker.ts';
import { weightsCommand } from './weights.ts';
import { validateCommand } from './validate.ts';
import { viewerCommand } from './viewer.ts';

const program = new Command('qfae')
  .description('PACS node for unsupervised anomaly detection')
  .version(version)
  .addCommand(initCommand())
  .addCommand(serveCommand())
  .addCommand(workerCommand())
  .addCommand(jobsCommand())
  .addCommand(backfillCommand())
  .addCommand(rescoreCommand())
  .addCommand(reindexCommand())
  .addCommand(scoreCommand())
  .addCommand(calibrateCommand())
  .addCommand(evaluateCommand())
  .addCommand(pretrainCommand())
  .addCommand(trainCommand())
  .addCommand(retrainCommand())
  .addCommand(scheduleCommand())
  .addCommand(bundlesCommand())
  .addCommand(reportCommand())
  .addCommand(rulesCommand())
  .addCommand(weightsCommand())
  .addCommand(tokenCommand())
  .addCommand(backupCommand())
  .addCommand(restoreCommand())
  .addCommand(exportCommand())
  .addCommand(doctorCommand())
  .addCommand(gpuCommand())
  .addCommand(viewerCommand())
  .addCommand(validateCommand());
overrideExit(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    console.error((error as Error).message);
    process.exitCode = error instanceof SettingsError ? 2 : 1;
  }
}

/** Commands throw instead of ending the process, so that wrong usage has its own exit code. */
function overrideExit(command: Command): void {
  command.exitOverride();
  command.commands.forEach(overrideExit);
}
