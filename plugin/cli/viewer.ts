import { Command } from 'commander';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { configuredFeeds } from '../gpu/cuda-package.ts';
import { loadSettings } from '../settings.ts';
import {
  installViewerFromFeed,
  installViewerFromFile,
  viewerFolder,
  viewerPackage,
} from '../viewer/install.ts';
import { progressBar } from './progress-bar.ts';

/** `qfae viewer`: OHIF, served by the node. */
export function viewerCommand(): Command {
  const command = new Command('viewer').description('OHIF, served by the node').exitOverride();
  command
    .command('install')
    .description('fetch OHIF (50 MB, 200 MB unpacked) into the data folder; the node serves it from then on')
    .option('--from <file>', `the package as a file: ${viewerPackage.name} ${viewerPackage.version} (.tgz)`)
    .action(async ({ from }: { from?: string }) => {
      const { root } = openDataFolder(loadSettings().data);
      if (from === undefined) {
        await installViewerFromFeed(await configuredFeeds(), root, progressBar(viewerPackage.name));
      } else await installViewerFromFile(from, root);
      console.log(`OHIF lies in ${viewerFolder(root)}; the worklist links to it`);
    });
  return command;
}
