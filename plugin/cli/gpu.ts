import { Command, Option } from 'commander';
import { probeProvider, providerFolder } from '../../inference/provider-probe.ts';
import { configuredFeeds, cudaPackages, cudaVersions } from '../gpu/cuda-package.ts';
import type { CudaVersion } from '../gpu/cuda-package.ts';
import { installFromFeed, installFromFile } from '../gpu/install.ts';
import { progressBar } from './progress-bar.ts';

/** `qfae gpu`: what computing on a GPU needs beside what npm installs. */
export function gpuCommand(): Command {
  const command = new Command('gpu').description('what computing on a GPU needs').exitOverride();
  command
    .command('install')
    .description('fetch the CUDA provider of onnxruntime and lay it beside onnxruntime (Linux, x64)')
    .addOption(
      new Option('--cuda <version>', 'whose libraries this machine has').choices(cudaVersions).default('12'),
    )
    .option('--from <file>', 'the package as a file (.nupkg for CUDA 12, .tgz for CUDA 13)')
    .option('--no-trial', 'do not try it: where images are built, there is no GPU')
    .action(async ({ cuda, from, trial }: { cuda: CudaVersion; from?: string; trial: boolean }) => {
      if (process.platform !== 'linux' || process.arch !== 'x64') {
        throw new Error('onnxruntime has its CUDA provider for Linux on x64 only');
      }
      const wanted = cudaPackages[cuda];
      if (from === undefined) {
        await installFromFeed(wanted, await configuredFeeds(), providerFolder, progressBar(wanted.name));
      } else {
        const sha512 = await installFromFile(wanted, from, providerFolder);
        if (wanted.sha512 === undefined) {
          console.error(`${from} has SHA-512 ${sha512}; compare it with the one that nuget.org states`);
        }
      }
      console.log(`the provider for CUDA ${cuda} lies in ${providerFolder}`);
      if (!trial) return;
      const probe = await probeProvider('cuda');
      if (!probe.usable) throw new Error(`it does not work yet: ${probe.reason}`);
      console.log('and computes');
    });
  return command;
}
