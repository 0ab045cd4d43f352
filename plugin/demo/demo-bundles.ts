import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { exportBundle } from '../../inference/bundle/bundle-archive.ts';
import { bundleID, promote, promotedBundle } from '../../inference/bundle/registry.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { rank, rankingMetrics } from '../../training/metrics/ranking.ts';
import { wholeNumber } from '../cli/arguments.ts';
import { stopSignal } from '../cli/stop-signal.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { brainT1Demo } from './brain-t1-demo.ts';
import { chestXrayDemo } from './chest-xray-demo.ts';
import type { Demonstration } from './demonstration.ts';
import { makeDemonstration } from './make-demonstration.ts';
import { measureDemonstration } from './measure-demonstration.ts';
import { msFlairDemo } from './ms-flair-demo.ts';
import { retinalOctDemo } from './retinal-oct-demo.ts';

const out = resolve('out/demo-bundles');

const command = new Command('demo-bundles')
  .description('make a demonstration bundle from nothing, or measure it')
  .option('--threads <n>', 'threads of the model; another number gives other roundings', wholeNumber, 1)
  .option('--measure', 'on the test studies, instead of making it');

command
  .command('brain-t1-demo')
  .description('of Colin27, deformed')
  .action(() => run(brainT1Demo));
command
  .command('chest-xray-demo')
  .description('of NIH ChestX-ray8')
  .argument('<pictures>', 'folder with the folders normal and pneumonia')
  .action((pictures: string) => run(chestXrayDemo(pictures)));
command
  .command('ms-flair-demo')
  .description('of lesion-free FLAIR slices of one person')
  .argument('<train>', 'folder of that person, with flair.nii.gz and lesions.nii.gz')
  .argument('<test>', 'folder of another person')
  .action((train: string, test: string) => run(msFlairDemo(train, test)));
command
  .command('retinal-oct-demo')
  .description('of normal retinal OCT')
  .argument('<pictures>', 'folder with the folders NORMAL, CNV, DME and DRUSEN')
  .action((pictures: string) => run(retinalOctDemo(pictures)));

function run(demonstration: Demonstration): Promise<void> {
  const { threads, measure } = command.opts<{ threads: number; measure?: true }>();
  return measure ? measured(demonstration) : make(demonstration, threads);
}

async function make(demonstration: Demonstration, threads: number): Promise<void> {
  const folder = join(out, demonstration.name);
  const bundle = await makeDemonstration(demonstration, folder, threads, stopSignal());
  if (!bundle) {
    console.error('ended early; the same command goes on');
    return;
  }
  await verifyBundle(join(folder, 'data'), bundle.id);
  await promote(join(folder, 'data'), bundle.id);
  const path = join(folder, `${bundle.id}.tar`);
  await exportBundle(join(folder, 'data'), bundle.id, path);
  console.log(path);
}

/** Figures of the bundle that was made last; where none was made, of the one that comes with the node. */
async function measured(demonstration: Demonstration): Promise<void> {
  const made = join(out, demonstration.name, 'data');
  const own = (await promotedBundle(made, demonstration.name)) !== undefined;
  const root = own ? made : join(out, 'shipped');
  if (!own) await ensureShippedBundles(root);
  const folder = join(out, demonstration.name, 'test');
  await rm(folder, { recursive: true, force: true });
  const id = await bundleID(root, demonstration.name);
  const results = await measureDemonstration(demonstration, root, id, folder);
  const normal = results.get('normal')!.scores;
  for (const [kind, { studies, flagged, scores }] of results) {
    const labels = [...normal.map(() => 0 as const), ...scores.map(() => 1 as const)];
    const { auroc } = rankingMetrics(rank([...normal, ...scores], labels));
    const ranked = kind === 'normal' ? '' : `, image AUROC of ${scores.length} pictures ${auroc.toFixed(3)}`;
    console.log(`${kind}: ${flagged} of ${studies} studies flagged${ranked}`);
  }
  const masks = join(folder, 'truth');
  const options = [
    ...['--bundle', id, '--patient', '^([^-]+)', '--normal', join(folder, 'normal')],
    ...['--abnormal', join(folder, 'abnormal'), ...(existsSync(masks) ? ['--masks', masks] : [])],
  ];
  const qfae = join(import.meta.dirname, '../cli/qfae.ts');
  execFileSync(process.execPath, [qfae, 'evaluate', ...options], {
    stdio: 'inherit',
    env: { ...process.env, QFAE_DATA: root },
  });
}

await command.parseAsync();
