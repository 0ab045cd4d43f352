import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { create, extract } from 'tar';
import { checkLayout } from '../data-folder/layout.ts';
import { restoreEmbeddedDatabase } from '../database/database.ts';

/** What a backup leaves out: what is made anew when it is missed, and the files of a database that runs. */
const leftOut = new Set(['incoming', 'work', 'undelivered', 'lock', 'database']);

/** The copy of the embedded database in a backup. */
const databaseCopy = 'database.tar';

/**
 * Packs a data folder into a tar file: stored studies, bundles, weights, runs, tokens, audit log, and a copy of the
 * embedded database. The copy is made first, so that no study that it names is missing; a study that comes meanwhile
 * may be there without being named. The file appears when it is whole.
 *
 * @param copyDatabase writes the copy to a file; left out where the database is a server with backups of its own
 * @throws Error if the file exists already.
 */
export async function backUp(
  dataFolder: string,
  file: string,
  copyDatabase: ((file: string) => Promise<void>) | undefined,
): Promise<void> {
  const target = resolve(file);
  if (existsSync(target)) throw new Error(`${file} exists already`);
  const copy = join(dataFolder, databaseCopy);
  const unfinished = `${target}.${randomUUID()}`;
  try {
    if (copyDatabase) await copyDatabase(copy);
    const entries = (await readdir(dataFolder)).filter((name) => !leftOut.has(name));
    await create({ cwd: dataFolder, file: unfinished, portable: true }, entries);
    await rename(unfinished, target);
  } finally {
    await rm(copy, { force: true });
    await rm(unfinished, { force: true });
  }
}

/**
 * Makes a data folder of a backup. The folder appears when it is whole.
 *
 * @throws Error if there is something at its place, or the backup is damaged or newer than this software.
 */
export async function restore(file: string, dataFolder: string): Promise<void> {
  const target = resolve(dataFolder);
  if ((await readdir(target).catch(() => [])).length > 0) {
    throw new Error(`${dataFolder} is not empty: restore into a new data folder`);
  }
  const unfinished = `${target}.${randomUUID()}`;
  await mkdir(unfinished, { recursive: true, mode: 0o700 });
  try {
    await extract({ file, cwd: unfinished, strict: true });
    if (!existsSync(join(unfinished, 'layout'))) throw new Error(`${file} is no backup of a data folder`);
    checkLayout(unfinished);
    const copy = join(unfinished, databaseCopy);
    if (existsSync(copy)) {
      await restoreEmbeddedDatabase(join(unfinished, 'database'), copy);
      await rm(copy);
    }
    await mkdir(dirname(target), { recursive: true });
    await rm(target, { recursive: true, force: true }); // empty, as was seen above
    await rename(unfinished, target);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
}
