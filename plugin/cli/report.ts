import { Command } from 'commander';
import { writeAtomically } from '../../inference/atomic-file.ts';
import { loadSettings } from '../settings.ts';
import { localArchiveName } from '../store/instance-store.ts';
import { askNode } from './node-or-database.ts';

/** `qfae report`: a study on one page. */
export function reportCommand(): Command {
  return new Command('report')
    .description('write a study on one page, an HTML file that needs no other; the node must run')
    .argument('<study>', 'StudyInstanceUID')
    .option('--archive <name>', 'where the study is', localArchiveName)
    .option('--out <file>', 'where to (default: report-<study>.html)')
    .action(async (study: string, { archive, out }: { archive: string; out?: string }) => {
      await askNode(loadSettings(), async (call) => {
        const path = `/studies/${encodeURIComponent(archive)}/${encodeURIComponent(study)}/report`;
        const page = (await call('GET', path)) as string;
        const file = out ?? `report-${study}.html`;
        await writeAtomically(file, (written) => written.writeFile(page));
        console.log(file);
      });
    });
}
