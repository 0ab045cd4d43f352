import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../atomic-file.ts';
import { weightsFolder } from '../bundle/registry.ts';
import { hashFile } from '../file-hash.ts';
import { streamSafetensors } from '../safetensors.ts';
import type { StateDictionary } from './tensor.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const size = z.number().int().positive();

/** `weights/<sha256>.json`, beside the weights: what they are and where they came from. */
const recordSchema = z.strictObject({
  sha256,
  bytes: z.number().int().nonnegative(),
  content: z.enum(['encoder', 'head']),
  /** The convention of names that was translated to timm's. */
  names: z.enum([
    'timm',
    'DINOv2',
    'MAE with decoder',
    'OpenCLIP',
    'transformers ViT',
    'transformers CLIP',
    'QFAE',
  ]),
  /** Where the parameters stand in a QFAE model; stored without it. */
  prefix: z.string(),
  /** Of a head: the SHA-256 of the encoders that it was trained with, in their order. */
  encoders: z.array(sha256).optional(),
  vit: z
    .strictObject({
      dim: size,
      depth: size,
      patchSize: size,
      positionGrid: size,
      mlpRatio: z.number().positive(),
      registers: z.number().int().nonnegative(),
      noEmbedClass: z.boolean(),
      layerScale: z.boolean(),
      normPre: z.boolean(),
      patchBias: z.boolean(),
    })
    .optional(),
  /** URL or file name. */
  source: z.string(),
  /** Of the published weights that they were downloaded as. */
  name: z.string().optional(),
  /** SPDX identifier, or what the publisher states. */
  licence: z.string(),
  /** Of the file that was imported. */
  sourceSha256: sha256,
  /** When it was imported first. */
  imported: z.iso.datetime(),
});

export type StoredWeights = z.infer<typeof recordSchema>;

/** Where a file came from, as its importer says. */
export type Origin = Pick<StoredWeights, 'source' | 'name' | 'licence'>;

/**
 * Stores tensors as safetensors under the hash of their file, and a record beside it. The same tensors give the
 * same file, whatever they were imported from; weights that are there already keep their first record.
 */
export async function storeWeights(
  root: string,
  state: StateDictionary,
  about: Omit<StoredWeights, 'sha256' | 'bytes' | 'imported'>,
): Promise<StoredWeights> {
  const folder = weightsFolder(root);
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${randomUUID()}.tmp`);
  try {
    const sorted = new Map([...state].sort(([a], [b]) => (a < b ? -1 : 1)));
    await streamSafetensors(temporary, sorted, (tensor) => tensor.read());
    const sha256 = await hashFile(temporary);
    const { size: bytes } = await stat(temporary);
    const record = { sha256, bytes, ...about, imported: new Date().toISOString() };
    await rename(temporary, join(folder, `${sha256}.safetensors`));
    const existing = await readRecord(root, sha256);
    if (existing) return existing;
    const json = `${JSON.stringify(recordSchema.parse(record), null, 1)}\n`;
    await writeAtomically(join(folder, `${sha256}.json`), (file) => file.writeFile(json));
    return record;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** All imported weights that are there, sorted by source and prefix. Throws if a record is damaged. */
export async function listWeights(root: string): Promise<StoredWeights[]> {
  const names: string[] = await readdir(weightsFolder(root)).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  });
  const hashes = names
    .flatMap((name) => /^([0-9a-f]{64})\.json$/.exec(name)?.slice(1) ?? [])
    .filter((hash) => names.includes(`${hash}.safetensors`));
  const records = await Promise.all(hashes.map((hash) => readRecord(root, hash)));
  return records
    .filter((record) => record !== undefined)
    .sort((a, b) => `${a.source} ${a.prefix}`.localeCompare(`${b.source} ${b.prefix}`));
}

async function readRecord(root: string, hash: string): Promise<StoredWeights | undefined> {
  const path = join(weightsFolder(root), `${hash}.json`);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`${path} is not a record of weights`, { cause: error });
  }
}
