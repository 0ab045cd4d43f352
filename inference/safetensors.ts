/// <reference lib="esnext.float16" />
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { writeAtomically } from './atomic-file.ts';
import { readRange } from './byte-range.ts';

/** Element types and their sizes in bytes. */
export const SIZES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

export type Dtype = keyof typeof SIZES;

/** Where a tensor lies in its file. */
export interface TensorEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** In bytes from the start of the file. */
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
}

const count = z.number().int().nonnegative();
const headerSchema = z.record(
  z.string(),
  z.strictObject({
    dtype: z.enum(Object.keys(SIZES) as [Dtype, ...Dtype[]]),
    shape: z.array(count),
    data_offsets: z.tuple([count, count]),
  }),
);
const metadataSchema = z.record(z.string(), z.string());

/** Longest header that is read, as in the format's reference implementation. */
const MAX_HEADER = 100_000_000;

/** The directory of a safetensors file; tensors are read when asked for. */
export interface Safetensors {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads and checks the header of a safetensors file
 * (https://github.com/huggingface/safetensors#format). Throws if sizes, offsets or types are inconsistent.
 */
export async function openSafetensors(path: string): Promise<Safetensors> {
  await using file = await open(path);
  const { size } = await file.stat();
  const fail = (problem: string, cause?: unknown) =>
    new Error(`${path} is not a valid safetensors file: ${problem}`, { cause });

  if (size < 8) throw fail('shorter than 8 bytes');
  const prefix = Buffer.alloc(8);
  await file.read(prefix, 0, 8, 0);
  const headerLength = Number(prefix.readBigUInt64LE());
  if (headerLength > MAX_HEADER || 8 + headerLength > size) {
    throw fail(`its header is said to have ${headerLength} bytes, the file has ${size}`);
  }
  const header = Buffer.alloc(headerLength);
  await file.read(header, 0, headerLength, 8);

  let entries: z.infer<typeof headerSchema>;
  let metadata: Record<string, string>;
  try {
    const { __metadata__: rest = {}, ...tensors } = JSON.parse(header.toString()) as Record<string, unknown>;
    metadata = metadataSchema.parse(rest);
    entries = headerSchema.parse(tensors);
  } catch (error) {
    throw fail('its header cannot be read', error);
  }

  const start = 8 + headerLength;
  const tensors = new Map<string, TensorEntry>();
  let end = 0;
  for (const [name, entry] of Object.entries(entries).sort(
    ([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1],
  )) {
    const { dtype, shape } = entry;
    const [from, to] = entry.data_offsets;
    const length = shape.reduce((product, dimension) => product * dimension, SIZES[dtype]);
    if (to - from !== length)
      throw fail(`${name} has ${to - from} bytes, ${dtype} (${shape.join(', ')}) has ${length}`);
    if (from !== end) throw fail(`${name} begins at ${from}, where ${end} was expected (overlap or gap)`);
    end = to;
    tensors.set(name, { dtype, shape, offset: start + from, length });
  }
  if (start + end !== size) throw fail(`its tensors end at byte ${start + end}, the file at ${size}`);
  return { path, tensors, metadata };
}

/** The bytes of one tensor. Throws if the file has no such tensor. */
export async function readBytes(file: Safetensors, name: string): Promise<Uint8Array<ArrayBuffer>> {
  const entry = file.tensors.get(name);
  if (!entry) throw new Error(`${file.path} has no tensor ${name}`);
  return readRange(file.path, entry.offset, entry.length);
}

/** The values of one F32 or F16 tensor. */
export async function readFloats(file: Safetensors, name: string): Promise<Float32Array<ArrayBuffer>> {
  const bytes = await readBytes(file, name);
  const { dtype } = file.tensors.get(name)!;
  if (dtype === 'F32') return new Float32Array(bytes.buffer);
  if (dtype === 'F16') return Float32Array.from(new Float16Array(bytes.buffer));
  throw new Error(`${file.path}: ${name} is ${dtype}, expected F32 or F16`);
}

/** A tensor to be written; F16 halves the size of float32 values. */
export interface TensorValues {
  readonly shape: readonly number[];
  readonly values: Float32Array;
  readonly dtype?: 'F32' | 'F16';
}

/** Writes a safetensors file, atomically. Throws if values do not fill their shape. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorValues>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await streamSafetensors(path, tensors, ({ values }) => Promise.resolve(values), metadata);
}

/**
 * Writes a safetensors file, atomically, and asks for the values of each tensor when its turn comes: memory holds
 * one tensor. Throws if values do not fill their shape.
 */
export async function streamSafetensors<T extends Omit<TensorValues, 'values'>>(
  path: string,
  tensors: ReadonlyMap<string, T>,
  read: (tensor: T) => Promise<Float32Array>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  // F32 first, so that every tensor is aligned to its element size.
  const ordered = [...tensors].sort(([, a], [, b]) => size(b) - size(a));
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  let offset = 0;
  for (const [name, tensor] of ordered) {
    const { shape, dtype = 'F32' } = tensor;
    const end = offset + shape.reduce((product, dimension) => product * dimension, size(tensor));
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(padded.length));

  await writeAtomically(path, async (file) => {
    await file.writeFile(prefix);
    await file.writeFile(padded);
    for (const [name, tensor] of ordered) {
      const values = await read(tensor);
      if (tensor.shape.reduce((product, dimension) => product * dimension, 1) !== values.length) {
        throw new Error(`${name}: ${values.length} values do not fill (${tensor.shape.join(', ')})`);
      }
      const typed = tensor.dtype === 'F16' ? Float16Array.from(values) : values;
      await file.writeFile(new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength));
    }
  });
}

function size({ dtype = 'F32' }: Pick<TensorValues, 'dtype'>): number {
  return SIZES[dtype];
}
