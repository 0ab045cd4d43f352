import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DicomPool } from '../../dicom/pool.ts';
import type { Archive } from './archive.ts';

/** Series whose files are at hand at the same time. */
const keptSeries = 4;

interface ShownFiles {
  folder: string;
  /** By SOPInstanceUID. */
  paths: Promise<Map<string, string>>;
}

/** The files of series that readers look at: fetched from their archive once, and kept for a while. */
export class ShownSeries {
  readonly #pool: DicomPool;
  readonly #work: string;
  /** The one that was looked at last is last. */
  readonly #series = new Map<string, ShownFiles>();

  /** @param work folder for fetched files; somebody else empties it. */
  constructor(pool: DicomPool, work: string) {
    this.#pool = pool;
    this.#work = work;
  }

  /**
   * The file of an instance; undefined where the archive does not hold it any more.
   *
   * @throws Error if the archive cannot be asked.
   */
  async file(
    archive: Archive,
    studyInstanceUID: string,
    seriesInstanceUID: string,
    sopInstanceUID: string,
  ): Promise<string | undefined> {
    const key = `${archive.name} ${seriesInstanceUID}`;
    const shown = this.#series.get(key) ?? this.#fetch(archive, studyInstanceUID, seriesInstanceUID);
    this.#series.delete(key);
    this.#series.set(key, shown);
    for (const [oldest] of [...this.#series].slice(0, -keptSeries)) await this.#forget(oldest);
    try {
      return (await shown.paths).get(sopInstanceUID);
    } catch (error) {
      await this.#forget(key);
      throw error;
    }
  }

  #fetch(archive: Archive, studyInstanceUID: string, seriesInstanceUID: string): ShownFiles {
    const folder = join(this.#work, randomUUID());
    const fetched = async () => {
      await mkdir(folder, { recursive: true });
      const files = await archive.retrieve(studyInstanceUID, seriesInstanceUID, folder);
      const headers = await Promise.all(files.map((path) => this.#pool.readHeader(path)));
      return new Map(headers.map(({ sopInstanceUID }, i) => [sopInstanceUID, files[i]]));
    };
    return { folder, paths: fetched() };
  }

  async #forget(key: string): Promise<void> {
    const shown = this.#series.get(key);
    this.#series.delete(key);
    await shown?.paths.catch(() => undefined);
    if (shown) await rm(shown.folder, { recursive: true, force: true });
  }
}
