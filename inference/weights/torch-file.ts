import { open, stat } from 'node:fs/promises';
import { openPromise } from 'yauzl';
import { readRange } from '../byte-range.ts';
import { SIZES } from '../safetensors.ts';
import type { Dtype } from '../safetensors.ts';
import { isObject, isTuple, MAX_PICKLE, PickleList, readPickle } from './pickle.ts';
import type { PickleObject, PickleRules, PickleTuple, PickleValue } from './pickle.ts';
import { elements, span, stridedTensor } from './tensor.ts';
import type { LazyTensor, StateDictionary } from './tensor.ts';

/*
 * What `torch.save` writes (torch/serialization.py): since PyTorch 1.6 a zip archive of stored entries, `data.pkl`
 * and one entry a storage; before, five pickles one after the other, then the storages. Only the names below are
 * known; every other one, and with it everything that `torch.load` could execute, is refused.
 */

const STORAGES: Readonly<Record<string, Dtype>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};

interface StorageType extends PickleObject {
  readonly kind: 'storage type';
  readonly dtype: Dtype;
}

/** A storage as a persistent ID names it; `length` in elements. */
interface Storage extends PickleObject {
  readonly kind: 'storage';
  readonly key: string;
  readonly dtype: Dtype;
  readonly length: number;
}

interface Tensor extends PickleObject {
  readonly kind: 'tensor';
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

interface Callable extends PickleObject {
  readonly kind: 'function';
  readonly apply: (args: PickleTuple) => PickleValue;
}

const NAMES = new Map<string, StorageType | Callable>([
  ...Object.entries(STORAGES).map(
    ([name, dtype]) => [`torch ${name}`, { kind: 'storage type', dtype }] as const,
  ),
  ['collections OrderedDict', { kind: 'function', apply: orderedDict }],
  ['torch._utils _rebuild_tensor_v2', { kind: 'function', apply: rebuildTensor }],
  ['torch._utils _rebuild_parameter', { kind: 'function', apply: rebuildParameter }],
]);

/** Reads the pickle of a file's tensors; gathers the storages that it names. */
class TensorRules implements PickleRules {
  readonly storages = new Map<string, Storage>();

  resolve(name: string): PickleObject | undefined {
    return NAMES.get(name);
  }

  call(callable: PickleObject, args: PickleTuple): PickleValue {
    if (callable.kind !== 'function') throw new Error(`calls a ${callable.kind}`);
    return (callable as Callable).apply(args);
  }

  /** `('storage', type, key, location, length)`, in legacy files with a last `None`. */
  persistent(id: PickleValue): Storage {
    if (!isTuple(id) || id.length < 5 || id[0] !== 'storage') {
      throw new Error('a persistent ID that is no storage');
    }
    const [, type, key, , length, view = null] = id;
    if (!isObject(type) || type.kind !== 'storage type') throw new Error('a storage without a type');
    if (typeof key !== 'string') throw new Error('a storage without a name');
    if (view !== null) throw new Error('a view of a storage, as PyTorch wrote before 0.4');
    const storage: Storage = {
      kind: 'storage',
      key,
      dtype: (type as StorageType).dtype,
      length: size(length),
    };
    const known = this.storages.get(key);
    if (known && (known.dtype !== storage.dtype || known.length !== storage.length)) {
      throw new Error(`storage ${JSON.stringify(key)} has two types or lengths`);
    }
    this.storages.set(key, storage);
    return storage;
  }
}

/** The small pickles that surround the tensors of a legacy file name nothing. */
const NO_NAMES: PickleRules = {
  resolve: () => undefined,
  call: () => {
    throw new Error('a call where there is nothing to call');
  },
  persistent: () => {
    throw new Error('a storage outside of the state dictionary');
  },
};

/** `OrderedDict()`. */
function orderedDict(args: PickleTuple): PickleValue {
  if (args.length > 0) throw new Error('an OrderedDict with arguments');
  return new Map();
}

/** `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks[, metadata])`. */
function rebuildTensor(args: PickleTuple): Tensor {
  const [storage, offset, shape, strides, , hooks, metadata = null] = args;
  if (storage === undefined || !isObject(storage) || storage.kind !== 'storage') {
    throw new Error('a tensor without a storage');
  }
  if (!(hooks instanceof Map) || hooks.size > 0) throw new Error('a tensor with hooks');
  if (metadata !== null && !(metadata instanceof Map && metadata.size === 0)) {
    throw new Error('a tensor with a conjugate or negative bit');
  }
  const tensor: Tensor = {
    kind: 'tensor',
    storage: storage as Storage,
    offset: size(offset),
    shape: sizes(shape),
    strides: sizes(strides),
  };
  if (tensor.shape.length !== tensor.strides.length) throw new Error('a tensor with more sizes than strides');
  const { key, length } = tensor.storage;
  const end = tensor.offset + span(tensor.shape, tensor.strides);
  if (!(end <= length) || !Number.isSafeInteger(elements(tensor.shape))) {
    throw new Error(
      `a tensor (${tensor.shape.join(', ')}) reaches element ${end} of storage ${JSON.stringify(key)}, which has ${length}`,
    );
  }
  return tensor;
}

/** `_rebuild_parameter(data, requires_grad, backward_hooks)`: the tensor itself. */
function rebuildParameter([data]: PickleTuple): PickleValue {
  if (data === undefined || !isObject(data) || data.kind !== 'tensor') {
    throw new Error('a parameter without a tensor');
  }
  return data;
}

function size(value: PickleValue | undefined): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new Error(`${typeof value === 'number' ? value : 'something else'} where a size is needed`);
  }
  return value;
}

function sizes(value: PickleValue | undefined): number[] {
  if (value === undefined || !isTuple(value) || value.length > 16) throw new Error('a tensor without sizes');
  return value.map(size);
}

/**
 * The tensors of a file written by `torch.save`: a state dictionary, or one under `model` or `state_dict`.
 * Nothing in it is executed; memory holds its pickle and, later, one tensor at a time.
 *
 * @throws Error naming the file, what is wrong, and where.
 */
export async function readTorchFile(path: string): Promise<StateDictionary> {
  try {
    const { value, offsets, length } = (await isZip(path)) ? await readZip(path) : await readLegacy(path);
    const tensors = [...stateDictionary(value)].filter(
      (entry): entry is [string, Tensor] => isObject(entry[1]) && entry[1].kind === 'tensor',
    );
    if (tensors.length === 0) throw new Error('no tensors in it');
    expectProportion(tensors, length);
    return new Map(tensors.map(([name, tensor]) => [name, lazy(path, tensor, offsets)]));
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

function lazy(path: string, tensor: Tensor, offsets: ReadonlyMap<string, number>): LazyTensor {
  const { storage, shape, strides } = tensor;
  const offset = offsets.get(storage.key)! + tensor.offset * SIZES[storage.dtype];
  return stridedTensor({ path, dtype: storage.dtype, shape, strides, offset });
}

/** What the released files wrap: `{'model': …}` (MAE, DINOv2), `{'state_dict': …}` (OpenCLIP). */
function stateDictionary(value: PickleValue): Map<string, PickleValue> {
  let state = value;
  for (const wrapper of ['model', 'state_dict']) {
    const inner: PickleValue | undefined = state instanceof Map ? state.get(wrapper) : undefined;
    if (inner instanceof Map) state = inner;
  }
  if (!(state instanceof Map)) throw new Error('no state dictionary in it');
  for (const name of state.keys()) {
    if (typeof name !== 'string') throw new Error(`a tensor named by the number ${name}`);
  }
  return state as Map<string, PickleValue>;
}

/** A few bytes can claim to be many tensors of the same storage; what is written would fill the disk. */
function expectProportion(tensors: readonly [string, Tensor][], length: number): void {
  const claimed = tensors.reduce(
    (sum, [, { shape, storage }]) => sum + elements(shape) * SIZES[storage.dtype],
    0,
  );
  if (claimed > Math.max(4 * length, 2 ** 26)) {
    throw new Error(`its tensors claim ${claimed} bytes, the file has ${length}`);
  }
}

interface TorchFile {
  readonly value: PickleValue;
  /** Where each storage begins, in bytes. */
  readonly offsets: ReadonlyMap<string, number>;
  /** Of the file, in bytes. */
  readonly length: number;
}

async function isZip(path: string): Promise<boolean> {
  await using file = await open(path);
  const { bytesRead, buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
  return bytesRead === 4 && buffer.readUInt32LE() === 0x04034b50;
}

/** Most entries of an archive: it has one for each tensor. */
const MAX_ENTRIES = 100_000;

/** Entries `<root>/data.pkl`, `<root>/data/<key>` and, since 2.1, `<root>/byteorder`; all stored, not deflated. */
async function readZip(path: string): Promise<TorchFile> {
  const zip = await openPromise(path, { autoClose: false, strictFileNames: true });
  try {
    if (zip.entryCount > MAX_ENTRIES) throw new Error(`a zip archive of ${zip.entryCount} entries`);
    const entries = new Map<string, { offset: number; length: number }>();
    for await (const entry of zip.eachEntry()) {
      const { fileName, compressedSize, uncompressedSize, compressionMethod } = entry;
      const place = JSON.stringify(fileName);
      const name = /^[^/]+\/(.+)$/.exec(fileName)?.[1];
      if (name === undefined) throw new Error(`entry ${place} is not in the archive's folder`);
      // An encrypted entry is longer than what it holds.
      if (compressionMethod !== 0 || compressedSize !== uncompressedSize) {
        throw new Error(`entry ${place} is compressed or encrypted, which PyTorch never does`);
      }
      if (entries.has(name)) throw new Error(`two entries ${place}`);
      const { fileDataStart: offset } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
      if (offset + compressedSize > zip.fileSize) throw new Error(`entry ${place} reaches beyond the file`);
      entries.set(name, { offset, length: compressedSize });
    }
    if (entries.has('constants.pkl')) throw new Error('a TorchScript program, not a state dictionary');
    const pickle = entries.get('data.pkl');
    if (!pickle) throw new Error('a zip archive without data.pkl');
    if (pickle.length > MAX_PICKLE) throw new Error(`data.pkl has ${pickle.length} bytes`);
    await expectLittleEndian(path, entries.get('byteorder'));

    const rules = new TensorRules();
    const { value } = readPickle(await readRange(path, pickle.offset, pickle.length), rules);
    const offsets = new Map<string, number>();
    for (const { key, dtype, length } of rules.storages.values()) {
      const entry = entries.get(`data/${key}`);
      const bytes = length * SIZES[dtype];
      if (entry?.length !== bytes) {
        throw new Error(
          `storage ${JSON.stringify(key)} has ${entry?.length ?? 'no'} bytes, its tensors need ${bytes}`,
        );
      }
      offsets.set(key, entry.offset);
    }
    return { value, offsets, length: zip.fileSize };
  } finally {
    zip.close();
  }
}

async function expectLittleEndian(
  path: string,
  entry: { offset: number; length: number } | undefined,
): Promise<void> {
  if (!entry) return;
  const order = Buffer.from(await readRange(path, entry.offset, Math.min(entry.length, 16))).toString(
    'latin1',
  );
  if (order !== 'little') throw new Error(`byte order ${JSON.stringify(order)}`);
}

/** `MAGIC_NUMBER` and `PROTOCOL_VERSION` of torch/serialization.py. */
const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;

/** Pickles: magic number, protocol, system, tensors, keys of storages; then for each key its length and bytes. */
async function readLegacy(path: string): Promise<TorchFile> {
  const { size: length } = await stat(path);
  const head = await readRange(path, 0, Math.min(length, 2 * MAX_PICKLE));
  let at = 0;
  const next = (rules: PickleRules) => {
    const { value, end } = readPickle(head, rules, at);
    at = end;
    return value;
  };
  // PROTO 2, LONG1 of 10 bytes
  if (head[0] !== 0x80 || head[2] !== 0x8a || next(NO_NAMES) !== MAGIC) {
    throw new Error('neither a PyTorch zip archive nor a legacy PyTorch file');
  }
  const protocol = next(NO_NAMES);
  if (protocol !== PROTOCOL) throw new Error('not PyTorch protocol 1001');
  const system = next(NO_NAMES);
  if (!(system instanceof Map) || system.get('little_endian') !== true) throw new Error('not little-endian');
  const rules = new TensorRules();
  const value = next(rules);
  const keys = next(NO_NAMES);
  if (!(keys instanceof PickleList)) throw new Error('no list of storages');

  const offsets = new Map<string, number>();
  for (const key of keys.items) {
    const storage = typeof key === 'string' ? rules.storages.get(key) : undefined;
    if (!storage) throw new Error('a storage that no tensor uses');
    const place = `storage ${JSON.stringify(storage.key)}`;
    if (offsets.has(storage.key)) throw new Error(`${place} is there twice`);
    const end = at + 8 + storage.length * SIZES[storage.dtype];
    if (end > length) throw new Error(`${place} ends at byte ${end}, the file at ${length}`);
    const stored = Buffer.from(await readRange(path, at, 8)).readBigInt64LE();
    if (stored !== BigInt(storage.length)) {
      throw new Error(`${place} has ${stored} elements, its tensors need ${storage.length}`);
    }
    offsets.set(storage.key, at + 8);
    at = end;
  }
  for (const key of rules.storages.keys()) {
    if (!offsets.has(key)) throw new Error(`storage ${JSON.stringify(key)} is missing`);
  }
  return { value, offsets, length };
}
