import { access, constants } from 'node:fs/promises';
import { Command } from 'commander';
import { bundleID, openBundle } from '../../inference/bundle/registry.ts';
import { precisionRemark } from '../../inference/bundle/schema.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { chooseRuntime } from '../../inference/provider-choice.ts';
import { OrthancArchive } from '../archive/orthanc.ts';
import { openDataFolder } from '../data-folder/data-folder.ts';
import { FolderLockedError, lockFolder } from '../../inference/folder-lock.ts';
import { ensureShippedBundles } from '../data-folder/shipped-bundles.ts';
import { DatabaseInUseError } from '../database/node-lock.ts';
import { openDatabase } from '../database/open-database.ts';
import { createLog } from '../log.ts';
import { loadSettings, type Settings } from '../settings.ts';

/** One thing that the node needs, looked at. */
interface Finding {
  check: string;
  ok: boolean;
  detail: string;
}

/** `qfae doctor`: looks at everything the node needs and says what is wrong; exit code 1 if anything is. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check execution providers, bundle, store and archive')
    .option('--json', 'JSON lines on stdout')
    .action(async (options: { json?: true }) => {
      const settings = loadSettings();
      for (const [check, look] of Object.entries(checks)) {
        const finding = await look(settings).then(
          (detail): Finding => ({ check, ok: true, detail }),
          (error: unknown): Finding => ({ check, ok: false, detail: (error as Error).message }),
        );
        if (!finding.ok) process.exitCode = 1;
        console.log(
          options.json
            ? JSON.stringify(finding)
            : `${finding.ok ? 'ok    ' : 'FAILED'}  ${check}: ${finding.detail}`,
        );
      }
    });
}

/** Each returns what it found, or throws what is wrong. */
const checks: Record<string, (settings: Settings) => Promise<string>> = {
  'node.js': () => Promise.resolve(process.version),

  'execution providers': async ({ inference }) => {
    const { provider, precision, passedOver } = await chooseRuntime(inference);
    const others = passedOver.map(({ provider, reason }) => `; not ${provider}: ${reason}`);
    return `${provider} in ${precision}${others.join('')}`;
  },

  'data folder': async ({ data }) => {
    const { root } = openDataFolder(data);
    await access(root, constants.R_OK | constants.W_OK);
    return root;
  },

  store: async (settings) => {
    const folder = openDataFolder(settings.data);
    let lock;
    try {
      lock = await lockFolder(folder.root);
    } catch (error) {
      if (error instanceof FolderLockedError) return 'in use by a running node';
      throw error;
    }
    try {
      const database = await openDatabase(settings, folder, createLog('silent')).catch((error: unknown) => {
        if (error instanceof DatabaseInUseError) return error.message;
        throw error;
      });
      if (typeof database === 'string') return database;
      const [row] = await database.query<{ count: number }>(
        'select count(*)::integer as count from instance',
      );
      await database.close();
      return `${row.count} instances`;
    } finally {
      lock.release();
    }
  },

  bundle: async ({ data, bundle, inference }) => {
    const { root } = openDataFolder(data);
    await ensureShippedBundles(root);
    const id = await bundleID(root, bundle);
    await verifyBundle(root, id);
    const { precision } = await chooseRuntime(inference);
    const remark = precisionRemark(await openBundle(root, id), precision);
    return `${id} scores as recorded${remark === undefined ? '' : `; ${remark}`}`;
  },

  archive: async ({ orthanc }) => {
    if (!orthanc) return 'none is set; the node scores what is sent to it';
    return `Orthanc ${await new OrthancArchive(orthanc).version()} at ${orthanc.url}`;
  },
};
