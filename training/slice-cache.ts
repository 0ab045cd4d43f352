import { createHash } from 'node:crypto';
import { mkdir, open, readFile, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../inference/atomic-file.ts';
import { lockFolder } from '../inference/folder-lock.ts';
import { applyMask } from '../inference/prepare.ts';
import type { InputSlice } from '../inference/preprocess.ts';

/*
 * A slice cache is a folder:
 *   slices.bin    the bytes of all slices, one after the other, each content once
 *   index.jsonl   the salt; then a line a slice: where it lies, its size, its patient and study
 * Bytes are appended and on the disk before the lines that name them: what was cut short has no line, and a line that
 * was cut short is none.
 */

const count = z.number().int().nonnegative();

const entrySchema = z.strictObject({
  offset: count,
  rows: count.positive(),
  columns: count.positive(),
  /** Of the pixels, in hexadecimal. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Pseudonyms: salted hashes of what the writer called the patient and the study. */
  patient: z.string().min(1),
  study: z.string().min(1),
});

const headerSchema = z.strictObject({
  version: z.literal(2),
  /** Of the pseudonyms; never leaves the folder. */
  salt: z.string().min(1),
});

export type CachedSlice = z.infer<typeof entrySchema>;

/** A slice as it is added: identifiers of any kind, which the cache does not keep; outside a mask it is black. */
export interface SourceSlice extends InputSlice {
  readonly patient: string;
  readonly study: string;
}

/** Where a slice cache's index lies: where there is none, nothing was added. */
export const indexPath = (folder: string): string => join(folder, 'index.jsonl');
const pixelsPath = (folder: string) => join(folder, 'slices.bin');

/**
 * A cache of 8-bit grey slices on disk, opened for reading.
 *
 * @example
 * const cache = await SliceCache.open('cache');
 * const { train, heldOut } = splitByPatient(cache.slices, 0.2, 19);
 * const slice = await cache.read(train[0]);
 */
export class SliceCache {
  readonly folder: string;
  readonly slices: readonly CachedSlice[];
  readonly #file: FileHandle;

  private constructor(folder: string, slices: readonly CachedSlice[], file: FileHandle) {
    this.folder = folder;
    this.slices = slices;
    this.#file = file;
  }

  /** Throws if the folder is no cache, or its index names bytes that are not there. */
  static async open(folder: string): Promise<SliceCache> {
    const index = await readIndex(folder);
    if (!index) throw new Error(`${folder} is no slice cache: it has no index.jsonl`);
    const { slices } = index;
    const { size } = await stat(pixelsPath(folder));
    const beyond = slices.find(({ offset, rows, columns }) => offset + rows * columns > size);
    if (beyond) throw new Error(`${pixelsPath(folder)} ends before slice ${beyond.sha256}`);
    return new SliceCache(folder, slices, await open(pixelsPath(folder)));
  }

  /** Reads the pixels of a slice; throws if they are not those that were written. */
  async read({ offset, rows, columns, sha256 }: CachedSlice): Promise<InputSlice> {
    const pixels = new Uint8Array(rows * columns);
    await this.#file.read(pixels, 0, pixels.length, offset);
    if (hash(pixels) !== sha256) throw new Error(`slice ${sha256} in ${this.folder} is damaged`);
    return { pixels, rows, columns };
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** A study in a slice cache. */
export interface CachedStudy {
  readonly patient: string;
  readonly slices: readonly CachedSlice[];
}

/** The first study of each patient. */
export function firstStudies(slices: readonly CachedSlice[]): CachedStudy[] {
  return [...Map.groupBy(slices, ({ patient }) => patient)].map(([patient, all]) => ({
    patient,
    slices: all.filter(({ study }) => study === all[0].study),
  }));
}

/** What `addSlices` did. */
export interface AddedSlices {
  readonly added: number;
  /** Slices of a patient that had the same pixels in the cache already. */
  readonly duplicates: number;
}

/**
 * A cache that slices are added to. What is there is read once, so that adding takes the same time however large the
 * cache is.
 */
export class SliceCacheWriter {
  readonly #folder: string;
  readonly #salt: string;
  readonly #lock: { release(): void };
  /** Where the index's last whole line ends; undefined where there is no index. */
  #indexEnd: number | undefined;
  /** A slice of each content. */
  readonly #stored = new Map<string, CachedSlice>();
  /** Contents with their patients. */
  readonly #known = new Set<string>();

  private constructor(folder: string, salt: string, index: Index | undefined, lock: { release(): void }) {
    this.#folder = folder;
    this.#salt = index?.salt ?? salt;
    this.#indexEnd = index?.end;
    this.#lock = lock;
    for (const slice of index?.slices ?? []) this.#enter(slice);
  }

  /**
   * Opens a cache, or a folder that becomes one. One writer at a time; throws if another process is at work.
   *
   * @param salt of a new cache's pseudonyms; given where the same studies must have the same ones in several caches
   */
  static async open(folder: string, salt: string = crypto.randomUUID()): Promise<SliceCacheWriter> {
    await mkdir(folder, { recursive: true });
    const lock = await lockFolder(folder);
    try {
      return new SliceCacheWriter(folder, salt, await readIndex(folder), lock);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Adds slices, all of them or none. Equal pixels are stored once; a slice that its patient has already is not added
   * again, so that an import may be repeated.
   */
  async add(slices: Iterable<SourceSlice> | AsyncIterable<SourceSlice>): Promise<AddedSlices> {
    const entries: CachedSlice[] = [];
    const stored = new Map<string, CachedSlice>();
    const known = new Set<string>();
    let duplicates = 0;
    {
      await using file = await open(pixelsPath(this.#folder), 'a');
      let { size: end } = await file.stat();
      for await (const slice of slices) {
        const { pixels, rows, columns } = applyMask(slice);
        const sha256 = hash(pixels);
        const { patient, study } = pseudonyms(this.#salt, slice);
        const content = contentOf({ sha256, patient });
        if (known.has(content) || this.#known.has(content)) {
          duplicates += 1;
          continue;
        }
        known.add(content);
        const same = stored.get(sha256) ?? this.#stored.get(sha256);
        const offset = same?.rows === rows ? same.offset : end;
        if (offset === end) {
          await file.writeFile(pixels);
          end += pixels.length;
        }
        const entry = { offset, rows, columns, sha256, patient, study };
        stored.set(sha256, entry);
        entries.push(entry);
      }
      await file.sync();
    }
    await this.#append(entries);
    for (const entry of entries) this.#enter(entry);
    return { added: entries.length, duplicates };
  }

  close(): void {
    this.#lock.release();
  }

  async #append(entries: readonly CachedSlice[]): Promise<void> {
    const path = indexPath(this.#folder);
    const header = { version: 2, salt: this.#salt } satisfies z.infer<typeof headerSchema>;
    const lines = this.#indexEnd === undefined ? [header, ...entries] : entries;
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    if (this.#indexEnd === undefined) await writeAtomically(path, (file) => file.writeFile(bytes));
    else {
      await using file = await open(path, 'r+');
      await file.truncate(this.#indexEnd);
      await file.write(bytes, 0, bytes.length, this.#indexEnd);
      await file.sync();
    }
    this.#indexEnd = (this.#indexEnd ?? 0) + bytes.length;
  }

  #enter(slice: CachedSlice): void {
    this.#stored.set(slice.sha256, slice);
    this.#known.add(contentOf(slice));
  }
}

const contentOf = ({ sha256, patient }: Pick<CachedSlice, 'sha256' | 'patient'>) => `${sha256} ${patient}`;

/** Adds slices to a cache, which is made if it is not there: see `SliceCacheWriter`. */
export async function addSlices(
  folder: string,
  slices: Iterable<SourceSlice> | AsyncIterable<SourceSlice>,
  salt?: string,
): Promise<AddedSlices> {
  const writer = await SliceCacheWriter.open(folder, salt);
  try {
    return await writer.add(slices);
  } finally {
    writer.close();
  }
}

/** What a cache with this salt calls a patient and a study: salted hashes, 16 hexadecimal digits. */
export function pseudonyms(
  salt: string,
  { patient, study }: Pick<SourceSlice, 'patient' | 'study'>,
): Pick<CachedSlice, 'patient' | 'study'> {
  const pseudonym = (kind: string, name: string) => hash(`${salt} ${kind} ${name}`).slice(0, 16);
  return { patient: pseudonym('patient', patient), study: pseudonym('study', `${patient} ${study}`) };
}

export interface PatientSplit {
  readonly train: readonly CachedSlice[];
  readonly heldOut: readonly CachedSlice[];
}

/**
 * Splits slices so that no patient is on both sides: the patients with the smallest pseudonyms, which are random,
 * are held out: `fraction` of them, but at least `minimum`. Throws if none is left for training.
 */
export function splitByPatient(
  slices: readonly CachedSlice[],
  fraction: number,
  minimum: number,
): PatientSplit {
  const patients = [...new Set(slices.map(({ patient }) => patient))].sort();
  const size = Math.max(Math.ceil(fraction * patients.length), minimum);
  if (patients.length <= size) {
    throw new Error(
      `the cache holds ${patients.length} patients; ${size} must be held out for calibration, and at least one must be left to train with`,
    );
  }
  const held = new Set(patients.slice(0, size));
  const { heldOut = [], train = [] } = Object.groupBy(slices, ({ patient }) =>
    held.has(patient) ? 'heldOut' : 'train',
  );
  return { train, heldOut };
}

interface Index extends z.infer<typeof headerSchema> {
  readonly slices: readonly CachedSlice[];
  /** Bytes up to the end of the last whole line. */
  readonly end: number;
}

/** The index of a cache, or undefined where there is none. Throws if it is damaged, or of an older form. */
async function readIndex(folder: string): Promise<Index | undefined> {
  const path = indexPath(folder);
  const bytes = await readFile(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  });
  if (!bytes) {
    const older = await stat(join(folder, 'index.json')).catch(() => undefined);
    if (!older) return undefined;
    throw new Error(`${folder} is a slice cache of an older form: remove it, and make it anew`);
  }
  const end = bytes.lastIndexOf('\n') + 1;
  const lines = bytes.toString('utf8', 0, end).split('\n').slice(0, -1);
  const parse = <T extends z.ZodType>(schema: T, i: number): z.infer<T> => {
    const parsed = schema.safeParse(jsonOrNothing(lines[i]));
    if (parsed.success) return parsed.data;
    throw new Error(`${path}, line ${i + 1}: ${z.prettifyError(parsed.error)}`);
  };
  return {
    ...parse(headerSchema, 0),
    slices: Array.from({ length: lines.length - 1 }, (_, i) => parse(entrySchema, i + 1)),
    end,
  };
}

function jsonOrNothing(line: string | undefined): unknown {
  try {
    return JSON.parse(line ?? '');
  } catch {
    return undefined;
  }
}

function hash(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
