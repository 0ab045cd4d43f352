import { readFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { z } from 'zod';
import { exportBundle } from '../../inference/bundle/bundle-archive.ts';
import { bundleFromWeights } from '../../inference/bundle/from-weights.ts';
import { importVerifiedBundle } from '../../inference/bundle/import-verified.ts';
import type { ProfileName } from '../../inference/bundle/profiles.ts';
import { bundleID, listBundles, openBundle, promote, rollback } from '../../inference/bundle/registry.ts';
import { removeBundle } from '../../inference/bundle/remove.ts';
import type { Bundle } from '../../inference/bundle/schema.ts';
import { clearShadow, setShadow } from '../../inference/bundle/shadow.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { modelConfigSchema } from '../../inference/model/config.ts';
import type { ModelConfig } from '../../inference/model/config.ts';
import { tasks } from '../../inference/model/presets.ts';
import { auditCommand } from '../access/audit-log.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { loadSettings } from '../settings.ts';
import { version } from '../version.ts';

/** `qfae bundles`: what can score, whether it is what it was, and which one scores. */
export function bundlesCommand(): Command {
  const command = new Command('bundles')
    .exitOverride()
    .description('list, show, verify, import, export, promote and remove bundles');

  command
    .command('list')
    .description('bundles in the data folder')
    .option('--json', 'JSON lines on stdout')
    .action(async (options: { json?: true }) => {
      const root = await bundleRoot();
      for (const { bundle, promoted } of await listBundles(root)) {
        const { id, title, profile } = bundle;
        const calibrated = bundle.calibration !== null;
        const state = promoted ? '  promoted' : calibrated ? '' : '  not calibrated';
        console.log(
          options.json
            ? JSON.stringify({ type: 'bundle', id, title, profile: profile.name, promoted, calibrated })
            : `${id}  ${profile.name}${state}  ${title}`,
        );
      }
    });

  command
    .command('show')
    .description('everything that decides a score of this bundle')
    .argument('<bundle>', 'ID, or a name for the promoted one')
    .action(async (reference: string) => {
      const root = await bundleRoot();
      console.log(JSON.stringify(await openBundle(root, reference), undefined, 2));
    });

  command
    .command('verify')
    .description('check the files of a bundle, and that its reference input still scores the same')
    .argument('<bundle>', 'ID, or a name for the promoted one')
    .action(async (reference: string) => {
      const root = await bundleRoot();
      const id = await bundleID(root, reference);
      await verifyBundle(root, id);
      console.log(`${id}: files and reference score are as recorded`);
    });

  changing('create', 'make a bundle of imported weights; it scores once it is calibrated and promoted')
    .addOption(
      new Option('--profile <name>', 'task of the paper').choices(Object.keys(tasks)).makeOptionMandatory(),
    )
    .requiredOption(
      '--checkpoint <weights>',
      'trained head: its name, source, or first digits of its SHA-256',
    )
    .option(
      '--perceptual <weights>',
      'weights of the perceptual model (default: the only ones that the model can take)',
    )
    .option('--model <file>', 'configuration of the model, JSON (default: the paper’s for the profile)')
    .option('--title <text>', 'as a reader sees it')
    .action(async ({ profile, model: file, title, ...weights }: CreateOptions & JsonOption) => {
      const root = await bundleRoot();
      const bundle = await bundleFromWeights(root, {
        profile,
        ...weights,
        title: title ?? `QFAE ${profile}`,
        software: `qfae ${version}`,
        ...(file !== undefined && { model: await readModelConfig(file) }),
      });
      tell(root, weights, 'created', bundle);
    });

  changing('import', 'add the bundle of an exported file, if its reference input scores as recorded')
    .argument('<file>')
    .action(async (file: string, options: JsonOption) => {
      const root = await bundleRoot();
      tell(root, options, 'imported', await importVerifiedBundle(root, file));
    });

  changing('export', 'write a bundle and its weights into one file')
    .argument('<bundle>', 'ID, or a name for the promoted one')
    .argument('<file>')
    .action(async (reference: string, file: string, options: JsonOption) => {
      const root = await bundleRoot();
      tell(root, options, 'exported', await exportBundle(root, reference, file));
    });

  changing('promote', 'let a bundle score for its profile, from the next study on')
    .argument('<bundle>', 'ID')
    .action(async (reference: string, options: JsonOption) => {
      const root = await bundleRoot();
      const id = await bundleID(root, reference);
      await verifyBundle(root, id);
      tell(root, options, 'promoted', await promote(root, id));
    });

  changing('rollback', 'let the bundle score that was promoted before the present one')
    .argument('<profile>')
    .action(async (profile: string, options: JsonOption) => {
      const root = await bundleRoot();
      tell(root, options, 'promoted', await rollback(root, profile));
    });

  changing('shadow', 'let a candidate score beside the promoted bundle; it writes nothing')
    .argument('<bundle>', 'ID')
    .action(async (id: string, options: JsonOption) => {
      const root = await bundleRoot();
      tell(root, options, 'in shadow', await setShadow(root, id));
    });

  changing('unshadow', 'let no candidate of this profile score any more')
    .argument('<profile>')
    .action(async (profile: string, options: JsonOption) => {
      const root = await bundleRoot();
      await clearShadow(root, profile);
      auditCommand(root, `bundles: no shadow for ${profile}`);
      if (options.json) console.log(JSON.stringify({ type: 'profile', action: 'no shadow', profile }));
      else console.log(`${profile}: no candidate scores in shadow`);
    });

  changing('remove', 'remove a bundle that is not promoted, and the weights that no other one needs')
    .argument('<bundle>', 'ID')
    .action(async (id: string, options: JsonOption) => {
      const root = await bundleRoot();
      tell(root, options, 'removed', await removeBundle(root, id));
    });
  return command;

  function changing(name: string, description: string): Command {
    return command.command(name).description(description).option('--json', 'JSON lines on stdout');
  }
}

interface CreateOptions {
  profile: ProfileName;
  checkpoint: string;
  perceptual?: string;
  model?: string;
  title?: string;
}

interface JsonOption {
  json?: true;
}

/** What was done with which bundle; to the audit log too. */
function tell(root: string, { json }: JsonOption, action: string, { id, title, profile }: Bundle): void {
  auditCommand(root, `bundles: ${action} ${id}`);
  console.log(
    json
      ? JSON.stringify({ type: 'bundle', action, id, title, profile: profile.name })
      : `${action}: ${id}  ${profile.name}  ${title}`,
  );
}

async function readModelConfig(path: string): Promise<ModelConfig> {
  try {
    return modelConfigSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new Error(`${path} is not the configuration of a model: ${reason}`, { cause: error });
  }
}

/** The data folder, with the bundle that is always there. */
async function bundleRoot(): Promise<string> {
  const { root } = openDataFolder(loadSettings().data);
  await ensureShippedBundles(root);
  return root;
}
