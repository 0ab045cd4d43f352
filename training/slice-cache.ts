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
 *   slices.bin   the bytes of all slices, one after the other, each content once
 *   index.json   where each lies, its size, its patient and study
 * Bytes are appended first; the index that names them then replaces the old one as a whole: a cache that was cut
 * short is what it was before.
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

const indexSchema = z.strictObject({
  version: z.literal(1),
  /** Of the pseudonyms; never leaves the folder. */
  salt: z.string().min(1),
  slices: z.array(entrySchema),
});

export type CachedSlice = z.infer<typeof entrySchema>;

/** A slice as it is added: identifiers of any kind, which the cache does not keep; outside a mask it is black. */
export interface SourceSlice extends InputSlice {
  readonly patient: string;
  readonly study: string;
}

const indexPath = (folder: string) => join(folder, 'index.json');
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
    const { slices } = await readIndex(folder);
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
 * Adds slices to a cache, which is made if it is not there. Equal pixels are stored once; a slice that its patient
 * has already is not added again, so that an import may be repeated. One writer at a time; throws if another
 * process is at work.
 *
 * @param salt of a new cache's pseudonyms; given where the same studies must have the same ones in several caches
 */
export async function addSlices(
  folder: string,
  slices: Iterable<SourceSlice> | AsyncIterable<SourceSlice>,
  salt: string = crypto.randomUUID(),
): Promise<AddedSlices> {
  await mkdir(folder, { recursive: true });
  const lock = await lockFolder(folder);
  try {
    const index = await readIndex(folder).catch(async (error: unknown) => {
      if (await stat(indexPath(folder)).catch(() => undefined)) throw error;
      return { version: 1 as const, salt, slices: [] };
    });
    const stored = new Map(index.slices.map((slice) => [slice.sha256, slice]));
    const known = new Set(index.slices.map(({ sha256, patient }) => `${sha256} ${patient}`));
    const entries = [...index.slices];
    let duplicates = 0;
    {
      await using file = await open(pixelsPath(folder), 'a');
      let { size: end } = await file.stat();
      for await (const slice of slices) {
        const { pixels, rows, columns } = applyMask(slice);
        const sha256 = hash(pixels);
        const { patient: of, study } = pseudonyms(index.salt, slice);
        if (known.has(`${sha256} ${of}`)) {
          duplicates += 1;
          continue;
        }
        known.add(`${sha256} ${of}`);
        const same = stored.get(sha256);
        const offset = same?.rows === rows ? same.offset : end;
        if (offset === end) {
          await file.writeFile(pixels);
          end += pixels.length;
        }
        const entry = { offset, rows, columns, sha256, patient: of, study };
        stored.set(sha256, entry);
        entries.push(entry);
      }
      await file.sync();
    }
    const json = JSON.stringify({ ...index, slices: entries });
    await writeAtomically(indexPath(folder), (file) => file.writeFile(json));
    return { added: entries.length - index.slices.length, duplicates };
  } finally {
    lock.release();
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

async function readIndex(folder: string): Promise<z.infer<typeof indexSchema>> {
  const text = await readFile(indexPath(folder), 'utf8').catch((error: unknown) => {
    throw new Error(`${folder} is no slice cache: it has no readable index.json`, { cause: error });
  });
  const parsed = indexSchema.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(`${indexPath(folder)}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function hash(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
