import { readdir, stat, statfs, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Settings } from '../settings.ts';

/** What others stored and removed is counted so often. */
const countEveryMs = 3600_000;

/** How much the store may still take: what its quota leaves, and what the disk has beyond a reserve. */
export class StoreRoom {
  readonly #folder: string;
  readonly #limits: Pick<Settings['limits'], 'storeBytes' | 'freeBytes'>;
  #used = 0;
  #countedAt = -Infinity;

  /** @param folder of the stored files */
  constructor(folder: string, limits: Pick<Settings['limits'], 'storeBytes' | 'freeBytes'>) {
    this.#folder = folder;
    this.#limits = limits;
  }

  /** In bytes; none or less where nothing more may be stored. */
  async left(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#folder);
    const free = bavail * bsize - this.#limits.freeBytes;
    if (this.#limits.storeBytes === undefined) return free;
    if (Date.now() - this.#countedAt > countEveryMs) {
      this.#countedAt = Date.now();
      this.#used = await bytesIn(this.#folder);
    }
    return Math.min(free, this.#limits.storeBytes - this.#used);
  }

  /** Notes that so many bytes were stored; fewer than none were removed. What is on its way in is not counted. */
  take(bytes: number): void {
    this.#used += bytes;
  }
}

async function bytesIn(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    bytes += entry.isDirectory()
      ? await bytesIn(path)
      : ((await stat(path).catch(() => undefined))?.size ?? 0);
  }
  return bytes;
}

/** What a full disk, and its owner's full quota, are called by the operating system and by PostgreSQL (disk_full). */
const fullCodes = ['ENOSPC', 'EDQUOT', '53100'];

/** Whether something could not be written because the disk, or its owner's quota, is full. */
export function isDiskFull(error: unknown): boolean {
  return fullCodes.includes((error as NodeJS.ErrnoException).code ?? '');
}

/** Writes all of `chunks`. One write to a disk that is nearly full ends early without an error; the next one fails. */
export async function writeWhole(handle: FileHandle, chunks: Buffer[]): Promise<void> {
  const { bytesWritten } = await handle.writev(chunks);
  const rest = Buffer.concat(chunks).subarray(bytesWritten);
  if (rest.length > 0) await handle.writeFile(rest);
}
