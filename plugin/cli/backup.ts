import { Command } from 'commander';
import { auditCommand } from '../access/audit-log.ts';
import { backUp, restore } from '../backup/backup.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { loadSettings } from '../settings.ts';
import { withNodeOrDatabase } from './node-or-database.ts';

const serverNote = 'the database is a server of its own and not in this backup: back it up with pg_dump';

/** `qfae backup`: packs the data folder, also while the node runs. */
export function backupCommand(): Command {
  return new Command('backup')
    .description('pack the data folder into a tar file, also while the node runs')
    .argument('<file>')
    .action(async (file: string) => {
      const { root } = openDataFolder(loadSettings().data);
      await withNodeOrDatabase(
        async (call) => {
          const { embedded } = (await call('GET', '/database')) as { embedded: boolean };
          if (!embedded) console.error(serverNote);
          await backUp(
            root,
            file,
            embedded
              ? async () => {
                  await call('POST', '/database/copy', {});
                }
              : undefined,
          );
        },
        async ({ database: { copy } }) => {
          if (!copy) console.error(serverNote);
          await backUp(root, file, copy);
        },
      );
      auditCommand(root, 'backup');
    });
}

/** `qfae restore`: makes a data folder of a backup. */
export function restoreCommand(): Command {
  return new Command('restore')
    .description('make the data folder of a backup; it must not exist yet, or be empty')
    .argument('<file>')
    .action(async (file: string) => {
      const { data } = loadSettings();
      await restore(file, data);
      auditCommand(data, 'restore');
    });
}
