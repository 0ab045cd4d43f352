import { Command } from 'commander';
import { createLog } from '../log.ts';
import { loadSettings } from '../settings.ts';
import { startWorker } from '../worker.ts';

/** `qfae worker`: takes jobs from a node's database until it is told to end (SIGINT, SIGTERM). */
export function workerCommand(): Command {
  return new Command('worker')
    .description("score studies for a node, from the node's PostgreSQL database")
    .action(async () => {
      const settings = loadSettings();
      const worker = await startWorker(settings, createLog(settings.log.level));
      const told = new Promise((resolve) => {
        process.once('SIGINT', resolve);
        process.once('SIGTERM', resolve);
      });
      console.log('QFAE worker: takes jobs'); // who reads this may end it at once
      await told;
      await worker.stop();
    });
}
