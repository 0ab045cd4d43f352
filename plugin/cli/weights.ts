import { basename } from 'node:path';
import { Argument, Command } from 'commander';
import { importWeights } from '../../inference/weights/import-weights.ts';
import { listWeights } from '../../inference/weights/store.ts';
import type { StoredWeights } from '../../inference/weights/store.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { loadSettings } from '../settings.ts';
import { published } from '../weights/catalogue.ts';
import { hubFromEnvironment, pullWeights } from '../weights/pull.ts';
import { wholeNumber } from './arguments.ts';
import { progressBar } from './progress-bar.ts';

/** `qfae weights`: encoders and trained heads that bundles can be made of. */
export function weightsCommand(): Command {
  // Set before subcommands are added: they inherit it.
  const command = new Command('weights').description('import, download and list weights').exitOverride();

  command
    .command('import')
    .description('store the weights of a .safetensors or PyTorch file; nothing in it is executed')
    .argument('<file>')
    .option('--source <text>', 'where the file came from (default: its name)')
    .option('--licence <text>', 'under which licence', 'not stated')
    .option('--image-size <pixels>', 'resample positions to this image size', wholeNumber)
    .option('--patch-size <pixels>', 'resample the patch embedding to this patch size', wholeNumber)
    .option('--json', 'JSON lines on stdout')
    .action(async (file: string, options: ImportOptions) => {
      const { source = basename(file), licence, imageSize, patchSize, json } = options;
      const target = { imageSize, patchSize };
      for (const weights of await importWeights(root(), file, { source, licence }, target))
        print(weights, json);
    });

  command
    .command('list')
    .description('imported weights in the data folder')
    .option('--json', 'JSON lines on stdout')
    .action(async ({ json }: { json?: true }) => {
      for (const weights of await listWeights(root())) print(weights, json);
    });

  command
    .command('pull')
    .description('download published weights and store them; HF_ENDPOINT and HF_TOKEN are honoured')
    .addArgument(new Argument('<name>', 'of published weights').choices(Object.keys(published)))
    .option('--json', 'JSON lines on stdout')
    .action(async (name: keyof typeof published, { json }: { json?: true }) => {
      const weights = { name, ...published[name] };
      console.error(`${name}: licence ${weights.licence}`);
      const pulled = await pullWeights(root(), weights, hubFromEnvironment(), progressBar(name));
      for (const weights of pulled) print(weights, json);
    });
  return command;
}

interface ImportOptions {
  source?: string;
  licence: string;
  imageSize?: number;
  patchSize?: number;
  json?: true;
}

function root(): string {
  return openDataFolder(loadSettings().data).root;
}

function print(weights: StoredWeights, json?: true): void {
  const { sha256, content, vit, prefix, source, name = source, licence } = weights;
  const size = vit ? ` dim ${vit.dim}, ${vit.depth} blocks, patch ${vit.patchSize}` : '';
  console.log(
    json
      ? JSON.stringify({ type: 'weights', ...weights })
      : `${sha256}  ${content}${size}  ${name}${prefix && ` (${prefix}*)`}  ${licence}`,
  );
}
