#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { SettingsError } from '../settings.ts';
import { version } from '../version.ts';
import { bundlesCommand } from './bundles.ts';
import { doctorCommand } from './doctor.ts';
import { evaluateCommand } from './evaluate.ts';
import { scoreCommand } from './score.ts';
import { serveCommand } from './serve.ts';
import { trainCommand } from './train.ts';
import { weightsCommand } from './weights.ts';
import { validateCommand } from './validate.ts';

/** A command that could not do what it was asked: exit code 1, the message on stderr. */
const program = new Command('qfae')
  .description('PACS node for unsupervised anomaly detection')
  .version(version)
  .exitOverride()
  .addCommand(serveCommand())
  .addCommand(scoreCommand())
  .addCommand(evaluateCommand())
  .addCommand(trainCommand())
  .addCommand(bundlesCommand())
  .addCommand(weightsCommand())
  .addCommand(doctorCommand())
  .addCommand(validateCommand());
for (const command of program.commands) command.exitOverride();

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
