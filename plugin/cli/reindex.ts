import { Command } from 'commander';
import { DicomPool } from '../../dicom/pool.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { lockFolder } from '../../inference/folder-lock.ts';
import { openDatabase } from '../database/open-database.ts';
import { createLog } from '../log.ts';
import { loadSettings } from '../settings.ts';
import { lostWithDatabase, reindex } from '../store/reindex.ts';

/** `qfae reindex`: the index from the stored files, after the database was lost; the node must not run. */
export function reindexCommand(): Command {
  return new Command('reindex')
    .exitOverride()
    .description('rebuild the index from the stored files; the node must not run')
    .option('--json', 'JSON lines on stdout')
    .action(async ({ json }: { json?: true }) => {
      const settings = loadSettings();
      const folder = openDataFolder(settings.data);
      const lock = await lockFolder(folder.root);
      const { threads, timeoutSeconds } = settings.decoding;
      const pool = new DicomPool({ threads, timeoutMs: timeoutSeconds * 1000 });
      try {
        const database = await openDatabase(settings, folder, createLog('silent'));
        try {
          const done = await reindex(database, pool, folder, (file, reason) => {
            if (json) console.log(JSON.stringify({ type: 'broken', file, reason }));
            else console.log(`set aside: ${file}: ${reason}`);
          });
          const { added, known, results, broken } = done;
          if (json) console.log(JSON.stringify({ type: 'reindex', ...done, lost: lostWithDatabase }));
          else {
            console.log(
              `${added} instances entered, ${known} known, ${results} results found, ${broken} files set aside in ${folder.root}/broken`,
            );
            console.log(`No file tells, and so a lost database has lost: ${lostWithDatabase.join('; ')}`);
          }
        } finally {
          await database.close();
        }
      } finally {
        await pool.close();
        lock.release();
      }
    });
}
