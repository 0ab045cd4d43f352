import { randomUUID } from 'node:crypto';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DicomPool } from '../../dicom/pool.ts';
import type { Archive } from './archive.ts';

/** The files of one series, as they were fetched. */
interface ShownFiles {
  key: string;
  folder: string;
  /** By SOPInstanceUID. */
  paths: Promise<Map<string, string>>;
  bytes: number;
  /** Who reads them now: they stay meanwhile. */
  readers: number;
  expiry?: NodeJS.Timeout;
}

/** What is kept of which nobody reads. */
interface KeptLimits {
  bytes: number;
  /** Since it was last read. */
  ms: number;
}

/** The files of series that readers look at: fetched from their archive once, and kept for a while. */
export class ShownSeries {
  readonly #pool: Pick<DicomPool, 'readHeader'>;
  readonly #work: string;
  readonly #limits: KeptLimits;
  /** The one that was looked at last is last. */
  readonly #series = new Map<string, ShownFiles>();

  /** @param work folder for fetched files; what lies there when the process ends, somebody else removes. */
  constructor(
    pool: Pick<DicomPool, 'readHeader'>,
    work: string,
    limits: KeptLimits = { bytes: 2 ** 30, ms: 15 * 60_000 },
  ) {
    this.#pool = pool;
    this.#work = work;
    this.#limits = limits;
  }

  /**
   * What `read` makes of the file of an instance, which stays until then. An instance that is not among the files
   * may have come to the archive since: they are fetched once more. Undefined where the archive does not hold it.
   *
   * @throws Error if the archive cannot be asked, and what `read` throws
   */
  async read<Result extends object>(
    archive: Pick<Archive, 'name' | 'retrieve'>,
    studyInstanceUID: string,
    seriesInstanceUID: string,
    sopInstanceUID: string,
    read: (path: string) => Promise<Result>,
  ): Promise<Result | undefined> {
    const key = `${archive.name} ${seriesInstanceUID}`;
    const fetch = () => this.#fetch(key, archive, studyInstanceUID, seriesInstanceUID);
    const known = this.#series.get(key);
    const result = await this.#readAmong(known ?? fetch(), sopInstanceUID, read);
    if (result !== undefined || known === undefined) return result;
    const newer = this.#series.get(key);
    return this.#readAmong(newer && newer !== known ? newer : fetch(), sopInstanceUID, read);
  }

  async #readAmong<Result>(
    shown: ShownFiles,
    sopInstanceUID: string,
    read: (path: string) => Promise<Result>,
  ): Promise<Result | undefined> {
    shown.readers++;
    clearTimeout(shown.expiry);
    try {
      const path = (await shown.paths).get(sopInstanceUID);
      return path === undefined ? undefined : await read(path);
    } finally {
      shown.readers--;
      if (this.#isKept(shown)) await this.#keep(shown);
      else await this.#removeUnread(shown);
    }
  }

  /** Fetches a series in place of what is kept of it. */
  #fetch(
    key: string,
    archive: Pick<Archive, 'retrieve'>,
    studyInstanceUID: string,
    seriesInstanceUID: string,
  ): ShownFiles {
    const folder = join(this.#work, randomUUID());
    const fetched = async () => {
      await mkdir(folder, { recursive: true });
      const files = await archive.retrieve(studyInstanceUID, seriesInstanceUID, folder);
      const headers = await Promise.all(files.map((path) => this.#pool.readHeader(path)));
      const sizes = await Promise.all(files.map(async (path) => (await stat(path)).size));
      shown.bytes = sizes.reduce((sum, size) => sum + size, 0);
      return new Map(headers.map(({ sopInstanceUID }, i) => [sopInstanceUID, files[i]]));
    };
    const shown: ShownFiles = { key, folder, paths: fetched(), bytes: 0, readers: 0 };
    shown.paths.catch(() => this.#forget(shown));
    const before = this.#series.get(key);
    this.#series.set(key, shown);
    if (before) void this.#removeUnread(before);
    return shown;
  }

  #isKept(shown: ShownFiles): boolean {
    return this.#series.get(shown.key) === shown;
  }

  /** Notes that a series was read just now, and forgets what is too much. */
  async #keep(shown: ShownFiles): Promise<void> {
    this.#series.delete(shown.key);
    this.#series.set(shown.key, shown);
    clearTimeout(shown.expiry);
    shown.expiry = setTimeout(() => void this.#forget(shown), this.#limits.ms).unref();
    let bytes = 0;
    const surplus = [...this.#series.values()].reverse().filter((each) => {
      bytes += each.bytes;
      return bytes > this.#limits.bytes && each.readers === 0 && each !== shown;
    });
    await Promise.all(surplus.map((each) => this.#forget(each)));
  }

  async #forget(shown: ShownFiles): Promise<void> {
    if (this.#isKept(shown)) this.#series.delete(shown.key);
    await this.#removeUnread(shown);
  }

  async #removeUnread({ readers, expiry, folder }: ShownFiles): Promise<void> {
    if (readers > 0) return;
    clearTimeout(expiry);
    await rm(folder, { recursive: true, force: true });
  }
}
