import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The layout of a data folder: which files and folders it has and what they mean. Counted up when an older version of
 * this software could no longer use a folder; the tables of the database have a version of their own.
 */
const layout = 1;

/** A data folder was written by a newer version of this software. */
export class NewerDataFolderError extends Error {
  override name = 'NewerDataFolderError';
}

/**
 * Sees to it that this software knows the layout of the folder, and notes it there. A folder without a note has the
 * first layout: folders of versions before 0.2 have none.
 *
 * @throws NewerDataFolderError if the layout is a later one; nothing is changed then.
 */
export function checkLayout(root: string): void {
  const file = join(root, 'layout');
  const found = existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
  if (found === undefined) writeFileSync(file, `${layout}\n`);
  else if (!(found <= layout)) {
    throw new NewerDataFolderError(
      `${root} has layout ${found}, this software knows ${layout}: install the newer software, or restore a backup`,
    );
  }
}
