import { Command } from 'commander';
import { createLog } from '../log.ts';
import { startNode } from '../node.ts';
import { loadSettings } from '../settings.ts';

/** `qfae serve`: runs the node until it is told to end (SIGINT, SIGTERM). */
export function serveCommand(): Command {
  return new Command('serve').description('run the node').action(async () => {
    const settings = loadSettings();
    const node = await startNode(settings, createLog(settings.log.level));
    const told = new Promise<undefined>((resolve) => {
      process.once('SIGINT', () => {
        resolve(undefined);
      });
      process.once('SIGTERM', () => {
        resolve(undefined);
      });
    });
    console.log(`QFAE node: ${node.url}/`); // who reads this may end it at once
    const failure = await Promise.race([told, node.failure]);
    await node.stop();
    if (failure) throw failure;
  });
}
