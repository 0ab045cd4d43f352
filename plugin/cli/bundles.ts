import { Command } from 'commander';
import { bundleID, listBundles, openBundle } from '../../inference/bundle/registry.ts';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { loadSettings } from '../settings.ts';

/** `qfae bundles`: what can score, and whether it is what it was. */
export function bundlesCommand(): Command {
  const command = new Command('bundles').description('list, show and verify bundles');

  command
    .command('list')
    .description('bundles in the data folder')
    .option('--json', 'JSON lines on stdout')
    .action(async (options: { json?: true }) => {
      const root = await bundleRoot();
      for (const { bundle, promoted } of await listBundles(root)) {
        const { id, title, profile } = bundle;
        console.log(
          options.json
            ? JSON.stringify({ type: 'bundle', id, title, profile: profile.name, promoted })
            : `${id}  ${profile.name}${promoted ? '  promoted' : ''}  ${title}`,
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
  return command;
}

/** The data folder, with the bundle that is always there. */
async function bundleRoot(): Promise<string> {
  const { root } = openDataFolder(loadSettings().data);
  await ensureUntrained(root);
  return root;
}
