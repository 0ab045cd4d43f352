import { Command } from 'commander';
import { createLog } from '../log.ts';
import { startNode } from '../node.ts';
import { loadSettings } from '../settings.ts';

/** `qfae serve`: runs the node until it is told to end (SIGINT, SIGTERM). */
export function serveCommand(): Command {
  return new Command('serve').description('run the node').action(async () => {
    const settings = loadSettings();
    const node = await startNode(settings, createLog(settings.log.level));
    console.log(`QFAE node: ${node.url}/`);
    await new Promise((resolve) => {
      process.once('SIGINT', resolve);
      process.once('SIGTERM', resolve);
    });
    await node.stop();
  });
}
