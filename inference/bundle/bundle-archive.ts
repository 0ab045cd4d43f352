import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { create, Parser } from 'tar';
import type { ReadEntry } from 'tar';
import { writeAtomically } from '../atomic-file.ts';
import {
  openBundle,
  parseBundle,
  storeManifest,
  weightProblems,
  weightsFolder,
  weightsPath,
} from './registry.ts';
import { bundleWeights } from './schema.ts';
import type { Bundle } from './schema.ts';

/*
 * An exported bundle is an uncompressed tar archive (POSIX.1-2001) of what a registry holds of it:
 *   bundles/<ID>/bundle.json, first
 *   weights/<sha256>.safetensors, each that it names, once
 */

const MANIFEST = /^bundles\/([a-z0-9-]+@[0-9a-f]{12})\/bundle\.json$/;
const WEIGHTS = /^weights\/([0-9a-f]{64})\.safetensors$/;

const MAX_MANIFEST_BYTES = 64 * 2 ** 20;
const DEFAULT_MAX_BYTES = 32 * 2 ** 30;

export interface ImportOptions {
  /** Most bytes of weights that a bundle may bring; 32 GiB if left out. */
  readonly maxBytes?: number;
}

/**
 * Writes a bundle, given by ID or name, with its weights into one file, which appears when it is complete. The
 * same bundle makes the same bytes. Throws if weights are missing or damaged.
 */
export async function exportBundle(root: string, reference: string, path: string): Promise<Bundle> {
  const bundle = await openBundle(root, reference);
  const problems = await weightProblems(root, bundle);
  if (problems.length > 0) throw new Error(`bundle ${bundle.id}: ${problems.join('; ')}`);
  await writeAtomically(path, async (file) => {
    for await (const chunk of bundleArchive(root, bundle)) await file.write(chunk);
  });
  return bundle;
}

/** The bytes of an exported bundle, as its files are; whoever imports them sees whether they are damaged. */
export function bundleArchive(root: string, bundle: Bundle): AsyncIterable<Buffer> {
  const hashes = new Set(bundleWeights(bundle).map(({ sha256 }) => sha256));
  const names = [
    `bundles/${bundle.id}/bundle.json`,
    ...[...hashes].map((sha256) => `weights/${sha256}.safetensors`),
  ];
  return create({ cwd: root, portable: true, noMtime: true }, names);
}

/**
 * Adds the bundle of an exported file, byte for byte, so that it keeps its ID; weights that are there already are
 * kept. It is not promoted. Refuses, and then leaves nothing behind: entries other than the bundle's own (paths
 * that lead elsewhere, links, folders), sizes and hashes other than those that `bundle.json` names, a file that
 * ends early, more weights than `maxBytes`.
 */
export async function importBundle(
  root: string,
  path: string,
  { maxBytes = DEFAULT_MAX_BYTES }: ImportOptions = {},
): Promise<Bundle> {
  const unpacking = new Unpacking(root, path, maxBytes);
  try {
    await unpacking.read();
    return await unpacking.store();
  } finally {
    await unpacking.discard();
  }
}

/** One import: weights wait under temporary names until the whole archive was checked. */
class Unpacking {
  readonly #root: string;
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #temporary = new Map<string, string>();
  #current: ReadEntry | undefined;
  #manifest: { bundle: Bundle; json: Buffer } | undefined;

  constructor(root: string, path: string, maxBytes: number) {
    this.#root = root;
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  async read(): Promise<void> {
    await mkdir(weightsFolder(this.#root), { recursive: true });
    const { promise: ended, resolve, reject } = Promise.withResolvers<undefined>();
    let entries = Promise.resolve();
    const parser = new Parser({
      strict: true,
      onReadEntry: (entry) => {
        this.#current = entry;
        entries = entries.then(() => this.#take(entry));
        entries.catch(reject);
      },
    });
    parser.on('end', resolve).on('error', reject);
    const input = createReadStream(this.#path).on('error', reject);
    input.pipe(parser);
    try {
      await ended;
      await entries;
    } catch (cause) {
      this.#current?.destroy(); // or what reads it would wait for ever
      await entries.catch(() => undefined);
      throw new Error(`${this.#path} is not imported: ${(cause as Error).message}`, { cause });
    } finally {
      input.destroy();
    }
  }

  /** Everything is there and checked: weights first, so that the bundle is complete when it appears. */
  async store(): Promise<Bundle> {
    if (!this.#manifest) throw new Error(`${this.#path} is not imported: it holds no bundle`);
    const { bundle, json } = this.#manifest;
    for (const { sha256 } of bundleWeights(bundle)) {
      if (!this.#temporary.has(sha256)) {
        throw new Error(`${this.#path} is not imported: it lacks weights ${sha256}`);
      }
    }
    for (const [sha256, temporary] of this.#temporary)
      await rename(temporary, weightsPath(this.#root, sha256));
    return storeManifest(this.#root, bundle.id, json);
  }

  /** Removes what was not stored. */
  async discard(): Promise<void> {
    for (const temporary of this.#temporary.values()) await rm(temporary, { force: true });
  }

  async #take(entry: ReadEntry): Promise<void> {
    if (entry.destroyed) throw new Error('reading was given up');
    if (entry.type !== 'File' && entry.type !== 'OldFile') {
      throw new Error(`it holds ${entry.path}, which is a ${entry.type} and no file`);
    }
    const [, id] = MANIFEST.exec(entry.path) ?? [];
    const [, sha256] = WEIGHTS.exec(entry.path) ?? [];
    if (id !== undefined && !this.#manifest) this.#manifest = await this.#readManifest(entry, id);
    else if (sha256 !== undefined && this.#manifest)
      await this.#takeWeights(entry, sha256, this.#manifest.bundle);
    else throw new Error(`${entry.path} has no place in a bundle, or not there`);
  }

  async #readManifest(entry: ReadEntry, id: string): Promise<{ bundle: Bundle; json: Buffer }> {
    if (entry.size > MAX_MANIFEST_BYTES) throw new Error(`its bundle.json has ${entry.size} bytes`);
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk);
    const json = Buffer.concat(chunks);
    const bundle = parseBundle(id, json);
    const sizes = new Map(bundleWeights(bundle).map(({ sha256, bytes }) => [sha256, bytes]));
    const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
    if (total > this.#maxBytes)
      throw new Error(`its weights have ${total} bytes, ${this.#maxBytes} are allowed`);
    return { bundle, json };
  }

  async #takeWeights(entry: ReadEntry, sha256: string, bundle: Bundle): Promise<void> {
    const expected = bundleWeights(bundle).find((weights) => weights.sha256 === sha256);
    if (!expected) throw new Error(`bundle ${bundle.id} does not name weights ${sha256}`);
    if (this.#temporary.has(sha256)) throw new Error(`it holds weights ${sha256} twice`);
    if (entry.size !== expected.bytes) {
      throw new Error(`weights ${sha256} have ${entry.size} bytes instead of ${expected.bytes}`);
    }
    const temporary = `${weightsPath(this.#root, sha256)}.${randomUUID()}.tmp`;
    this.#temporary.set(sha256, temporary);
    const hash = createHash('sha256');
    await using file = await open(temporary, 'wx');
    for await (const chunk of entry) {
      hash.update(chunk);
      await file.write(chunk);
    }
    await file.sync();
    const actual = hash.digest('hex');
    if (actual !== sha256) throw new Error(`weights ${sha256} are damaged: their SHA-256 is ${actual}`);
  }
}
