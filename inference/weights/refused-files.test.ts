import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GOLDEN_FOLDER } from '../../fixtures/golden.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import {
  int,
  pickle,
  stateDictionary,
  storage,
  tensor,
  torchArchive,
  tuple,
  unicode,
  zipArchive,
} from '../../fixtures/torch-archive.ts';

/** Heap of the process that reads the files, in MiB: what a file claims must not fill it. */
const HEAP = 128;

let folder: string;
let canary: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'refused-'));
  canary = join(folder, 'executed');
});
afterAll(() => rm(folder, { recursive: true }));

const PROTO = pickle(0x80, 2);
const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const long1 = (value: bigint, length: number) =>
  pickle(
    0x8a,
    length,
    Buffer.from(Array.from({ length }, (_, i) => Number((value >> BigInt(8 * i)) & 255n))),
  );
const system = () => pickle(PROTO, 'cposix\nsystem\n', unicode(`touch '${canary}'`), 0x85, 'R.');
const state = (change: Parameters<typeof tensor>[0] = {}) => stateDictionary({ weight: tensor(change) });
const inArchive = (data: Uint8Array) => torchArchive(data);
/** A pickle with one more value than a sound one. */
const carrying = (value: Uint8Array) => inArchive(stateDictionary({ weight: tensor(), more: value }));

/** A file of before PyTorch 1.6: five pickles, then one storage of 16 bytes. */
function legacy(tensors: Uint8Array, keys: string[] = ['0'], length = 4, littleEndian = 0x88): Buffer {
  return pickle(
    ...[PROTO, long1(0x1950a86a20f9469cfc6cn, 10), '.', PROTO, 'M', Buffer.of(0xe9, 3), '.'],
    ...[PROTO, '}', unicode('little_endian'), littleEndian, 's.', tensors],
    ...[PROTO, '](', ...keys.map(unicode), 'e.', Buffer.of(length, 0, 0, 0, 0, 0, 0, 0), Buffer.alloc(16)],
  );
}

/** Each refused file with what the error says. */
const CASES: Record<string, [file: () => Uint8Array, message: string | RegExp]> = {
  // Names and calls
  'os.system by REDUCE': [() => inArchive(system()), 'byte 2: names "posix system", which is not allowed'],
  'builtins.eval by STACK_GLOBAL': [
    () => carrying(pickle(unicode('builtins'), unicode('eval'), 0x93, tuple(unicode('1')), 'R')),
    'names "builtins eval"',
  ],
  'builtins.getattr': [() => carrying(pickle('cbuiltins\ngetattr\n')), 'names "builtins getattr"'],
  'torch.storage._load_from_bytes': [
    () => carrying(pickle('ctorch.storage\n_load_from_bytes\n')),
    'names "torch.storage _load_from_bytes"',
  ],
  'a numpy array': [
    () => carrying(pickle('cnumpy.core.multiarray\n_reconstruct\n')),
    'names "numpy.core.multiarray _reconstruct"',
  ],
  'an argparse.Namespace': [
    () => carrying(pickle('cargparse\nNamespace\n)', 0x81)),
    'names "argparse Namespace"',
  ],
  'a name of Object.prototype': [() => carrying(pickle('c__proto__\n\n')), 'names "__proto__ "'],
  'a STACK_GLOBAL of numbers': [() => carrying(pickle(int(1), int(2), 0x93)), 'a name that is no text'],
  INST: [() => carrying(pickle('(iposix\nsystem\n')), 'opcode INST is not allowed'],
  OBJ: [() => carrying(pickle('(ccollections\nOrderedDict\no')), 'opcode OBJ is not allowed'],
  NEWOBJ: [
    () => carrying(pickle('ccollections\nOrderedDict\n)', 0x81)),
    'opcode NEWOBJ is not allowed in a file of tensors',
  ],
  NEWOBJ_EX: [
    () => carrying(pickle('ccollections\nOrderedDict\n)}', 0x92)),
    'opcode NEWOBJ_EX is not allowed',
  ],
  EXT1: [() => carrying(pickle(0x82, 1)), 'opcode EXT1 is not allowed'],
  EXT2: [() => carrying(pickle(0x83, 1, 0)), 'opcode EXT2 is not allowed'],
  EXT4: [() => carrying(pickle(0x84, 1, 0, 0, 0)), 'opcode EXT4 is not allowed'],
  PERSID: [() => carrying(pickle('Pstorage\n')), 'opcode PERSID is not allowed'],
  'BYTEARRAY8 of 2⁶³ bytes': [
    () => carrying(pickle(0x96, Buffer.alloc(8, 0x7f))),
    'opcode BYTEARRAY8 is not allowed',
  ],
  'a byte that is no opcode': [() => carrying(pickle(0xff)), 'opcode 0xff is not allowed'],
  'an OrderedDict with arguments': [
    () => carrying(pickle('ccollections\nOrderedDict\n', tuple(tuple()), 'R')),
    'an OrderedDict with arguments',
  ],
  'a call of a storage type': [() => carrying(pickle('ctorch\nFloatStorage\n)R')), 'calls a storage type'],
  'a call of a text': [() => carrying(pickle(unicode('eval'), ')R')), 'calls something that is no function'],
  'a call with a list': [
    () => carrying(pickle('ccollections\nOrderedDict\n]R')),
    'arguments that are no tuple',
  ],
  'BUILD on a tensor': [() => carrying(pickle(tensor(), '}b')), 'BUILD on something that is no OrderedDict'],

  // Persistent IDs
  'a persistent ID that is a path': [
    () => carrying(pickle(unicode('/etc/passwd'), 'Q')),
    'a persistent ID that is no storage',
  ],
  'a persistent ID of another kind': [
    () => carrying(pickle(tuple(unicode('module'), int(1), int(1), int(1), int(1)), 'Q')),
    'a persistent ID that is no storage',
  ],
  'a storage whose type is a function': [
    () =>
      carrying(
        pickle(
          tuple(
            unicode('storage'),
            pickle('ccollections\nOrderedDict\n'),
            unicode('0'),
            unicode('cpu'),
            int(4),
          ),
          'Q',
        ),
      ),
    'a storage without a type',
  ],
  'a storage of negative length': [() => carrying(storage({ length: -4 })), '-4 where a size is needed'],
  'a storage key that leads outside': [
    () => inArchive(state({ of: storage({ key: '../../../../etc/passwd' }) })),
    'storage "../../../../etc/passwd" has no bytes, its tensors need 16',
  ],
  'one storage under two types': [
    () => torchArchive(stateDictionary({ a: tensor(), b: tensor({ of: storage({ type: 'IntStorage' }) }) })),
    'storage "0" has two types or lengths',
  ],

  // Bombs
  'more opcodes than memory could hold': [
    () => inArchive(Buffer.alloc(15 * 2 ** 20, '}')),
    'more than 200000 opcodes',
  ],
  'a list inside itself': [
    () => inArchive(pickle(PROTO, ']q', 0, 'h', 0, 'a.')),
    'no state dictionary in it',
  ],
  'lists of lists, twice as many at each of 50 levels': [
    () => {
      const levels = Array.from({ length: 50 }, (_, i) => pickle('](h', i, 'h', i, 'eq', i + 1));
      return inArchive(pickle(PROTO, ']q', 0, ...levels, '.'));
    },
    'STOP leaves 50 values',
  ],
  'memo number 2³² − 1 without content': [
    () => carrying(pickle('j', uint32(0xffffffff))),
    'nothing was stored under 4294967295',
  ],
  'a whole number of 2 GiB': [
    () => carrying(pickle(0x8b, uint32(0x7fffffff))),
    'a whole number of 2147483647 bytes',
  ],
  'a whole number of −1 bytes': [
    () => carrying(pickle(0x8b, uint32(0xffffffff))),
    'a whole number of -1 bytes',
  ],
  'a whole number of 255 bytes': [() => carrying(long1(1n, 255)), 'a whole number of 255 bytes'],
  'a text of 4 GiB': [() => carrying(pickle('X', uint32(0xffffffff))), /ends after \d+ of 4294967295 bytes/],
  'a text of 2⁶³ bytes': [
    () => carrying(pickle(0x8d, Buffer.alloc(8, 0x7f))),
    /ends after \d+ of 9\d{18} bytes/,
  ],
  'a pickle of 17 MiB': [() => inArchive(Buffer.alloc(17 * 2 ** 20, 0x80)), 'data.pkl has 17825792 bytes'],
  'a tensor that repeats one element 2³⁰ times': [
    () => inArchive(state({ shape: [2 ** 20, 2 ** 10], strides: [0, 0] })),
    /its tensors claim 4294967296 bytes, the file has \d+/,
  ],
  'a tensor of 2⁶⁰ elements': [
    () => inArchive(state({ shape: [2 ** 30, 2 ** 30], strides: [0, 0] })),
    'a tensor (1073741824, 1073741824) reaches',
  ],

  // Malformed pickles
  'an empty pickle': [() => inArchive(Buffer.alloc(0)), 'byte 0: ends after 0 of 1 bytes'],
  'a pickle of a future protocol': [() => inArchive(pickle(0x80, 6, '}.')), 'pickle protocol 6'],
  'STOP on an empty stack': [() => inArchive(pickle(PROTO, '.')), 'byte 2: the stack is empty'],
  'values left at STOP': [() => inArchive(pickle(PROTO, '}}.')), 'STOP leaves 1 values on the stack'],
  'no mark': [() => inArchive(pickle(PROTO, 't.')), 'no mark on the stack'],
  'a mark as value': [() => inArchive(pickle(PROTO, '(', 0x85, '.')), 'a mark where a value is needed'],
  'a key without a value': [
    () => inArchive(pickle(PROTO, '}(', unicode('a'), 'u.')),
    'a key without a value',
  ],
  'a dictionary as key': [() => inArchive(pickle(PROTO, '}}}s.')), 'a key that is no text or number'],
  'items of a tuple': [
    () => inArchive(pickle(PROTO, ')', unicode('a'), unicode('b'), 's.')),
    'sets items of something that is no dictionary',
  ],
  'a tuple that grows': [
    () => inArchive(pickle(PROTO, ')', int(1), 'a.')),
    'appends to something that is no list',
  ],
  'text that is not UTF-8': [
    () => carrying(pickle('X', uint32(2), 0xc3, 0x28)),
    'encoded data was not valid',
  ],

  // Tensors
  'a tensor larger than its storage': [
    () => inArchive(state({ shape: [5], strides: [1] })),
    'a tensor (5) reaches element 5 of storage "0", which has 4',
  ],
  'strides that lead outside': [
    () => inArchive(state({ strides: [3, 1] })),
    'reaches element 5 of storage "0", which has 4',
  ],
  'an offset that leads outside': [
    () => inArchive(state({ offset: int(1) })),
    'reaches element 5 of storage "0"',
  ],
  'a negative offset': [() => inArchive(state({ offset: int(-1) })), '-1 where a size is needed'],
  'a negative stride': [() => inArchive(state({ strides: [2, -1] })), '-1 where a size is needed'],
  'a negative size': [() => inArchive(state({ shape: [-2, 2] })), '-2 where a size is needed'],
  'an offset of 128 bits': [
    () => inArchive(state({ offset: long1(1n << 100n, 16) })),
    'something else where a size is needed',
  ],
  'an offset that is a fraction': [
    () => inArchive(state({ offset: pickle('G', Buffer.from('3fe0000000000000', 'hex')) })),
    '0.5 where a size is needed',
  ],
  'more sizes than strides': [() => inArchive(state({ strides: [1] })), 'more sizes than strides'],
  'a tensor of 17 dimensions': [
    () => inArchive(state({ shape: Array<number>(17).fill(1), strides: Array<number>(17).fill(1) })),
    'a tensor without sizes',
  ],
  'a tensor without storage': [() => inArchive(state({ of: unicode('0') })), 'a tensor without a storage'],
  'a tensor with hooks': [
    () => inArchive(state({ hooks: pickle('ccollections\nOrderedDict\n)R', int(0), int(1), 's') })),
    'a tensor with hooks',
  ],
  'a tensor with a negative bit': [
    () => inArchive(state({ rest: [pickle('}', unicode('neg'), 0x88, 's')] })),
    'a tensor with a conjugate or negative bit',
  ],
  'a parameter of a text': [
    () => carrying(pickle('ctorch._utils\n_rebuild_parameter\n', tuple(unicode('x')), 'R')),
    'a parameter without a tensor',
  ],
  'complex numbers': [
    () => inArchive(state({ of: storage({ type: 'ComplexFloatStorage' }) })),
    'names "torch ComplexFloatStorage"',
  ],
  'quantised numbers': [
    () => inArchive(state({ of: storage({ type: 'QUInt8Storage' }) })),
    'names "torch QUInt8Storage"',
  ],
  'a storage shorter than its tensor': [
    () => torchArchive(state(), { 0: Buffer.alloc(12) }),
    'storage "0" has 12 bytes, its tensors need 16',
  ],
  'a storage of another type': [
    () => torchArchive(state({ of: storage({ type: 'DoubleStorage' }) })),
    'storage "0" has 16 bytes, its tensors need 32',
  ],
  'no storage': [() => torchArchive(state(), {}), 'storage "0" has no bytes'],
  'no tensors': [() => inArchive(stateDictionary({})), 'no tensors in it'],
  'tensors under numbers': [
    () => inArchive(pickle(PROTO, '}', int(1), tensor(), 's.')),
    'a tensor named by the number 1',
  ],

  // Archives
  'a name that leads outside': [
    () => zipArchive([{ name: '../model/data.pkl', data: state() }]),
    'invalid relative path: ../model/data.pkl',
  ],
  'an absolute name': [
    () => zipArchive([{ name: '/model/data.pkl', data: state() }]),
    'absolute path: /model/data.pkl',
  ],
  'a name with a backslash': [
    () => zipArchive([{ name: 'model\\data.pkl', data: state() }]),
    'invalid characters in fileName',
  ],
  'a name without folder': [
    () => zipArchive([{ name: 'data.pkl', data: state() }]),
    `entry "data.pkl" is not in the archive's folder`,
  ],
  'a zip bomb': [
    () => zipArchive([{ name: 'model/data.pkl', data: Buffer.alloc(2 ** 26), deflated: true }]),
    'entry "model/data.pkl" is compressed or encrypted',
  ],
  'an encrypted entry': [
    () => zipArchive([{ name: 'model/data.pkl', data: state(), flags: 1 }]),
    'size mismatch for stored file',
  ],
  'an entry longer than the file': [
    () => zipArchive([{ name: 'model/data.pkl', data: state(), claimed: 2 ** 31 }]),
    'file data overflows file bounds',
  ],
  'two pickles': [
    () => torchArchive(state(), undefined, [{ name: 'model/data.pkl', data: system() }]),
    'two entries "model/data.pkl"',
  ],
  'more entries than there are': [
    () => zipArchive([{ name: 'model/data.pkl', data: state() }], 9),
    /Central Directory|central directory|EOF/,
  ],
  'a TorchScript program': [
    () => torchArchive(state(), undefined, [{ name: 'model/constants.pkl', data: system() }]),
    'a TorchScript program, not a state dictionary',
  ],
  'a big-endian archive': [
    () => torchArchive(state(), undefined, [{ name: 'model/byteorder', data: Buffer.from('big') }]),
    'byte order "big"',
  ],
  'another zip archive': [
    () => zipArchive([{ name: 'word/document.xml', data: Buffer.from('<xml/>') }]),
    'a zip archive without data.pkl',
  ],
  'a local header alone': [
    () => Buffer.from('PK\x03\x04'),
    /End of Central Directory|End of central directory/,
  ],

  // Legacy files
  'a legacy file that calls os.system': [() => legacy(system()), 'names "posix system"'],
  'a legacy file of a big-endian machine': [() => legacy(state(), ['0'], 4, 0x89), 'not little-endian'],
  'a legacy storage of another length': [
    () => legacy(state(), ['0'], 5),
    'storage "0" has 5 elements, its tensors need 4',
  ],
  'a legacy storage that no tensor uses': [() => legacy(state(), ['1']), 'a storage that no tensor uses'],
  'a legacy storage that is there twice': [() => legacy(state(), ['0', '0']), 'storage "0" is there twice'],
  'a legacy file without its storage': [() => legacy(state(), []), 'storage "0" is missing'],
  'a pickle that is no PyTorch file': [
    () => system(),
    'neither a PyTorch zip archive nor a legacy PyTorch file',
  ],
  'another magic number': [
    () => pickle(PROTO, long1(0x1950a86a20f9469cfc6dn, 10), '.'),
    'neither a PyTorch zip archive nor a legacy PyTorch file',
  ],
  'an empty file': [() => Buffer.alloc(0), 'neither a PyTorch zip archive nor a legacy PyTorch file'],
  'a web page': [() => Buffer.from('<html></html>'), 'neither a PyTorch zip archive'],
};

/** Reads files in a process with a small heap; returns what each was refused for. */
async function refusals(files: ReadonlyMap<string, Uint8Array>): Promise<Record<string, string>> {
  const inbox = await mkdtemp(join(folder, 'inbox-'));
  await mkdir(inbox, { recursive: true });
  const names = [...files.keys()];
  for (const [i, bytes] of [...files.values()].entries()) await writeFile(join(inbox, `${i}.pth`), bytes);
  const script = `
    const { readTorchFile } = await import(${JSON.stringify(new URL('torch-file.ts', import.meta.url).href)});
    const messages = [];
    for (let i = 0; i < ${names.length}; i++) {
      const path = ${JSON.stringify(inbox)} + '/' + i + '.pth';
      messages.push(await readTorchFile(path).then(() => 'no error', ({ message }) => message.replace(path + ': ', '')));
    }
    console.log(JSON.stringify(messages));`;
  const args = [`--max-old-space-size=${HEAP}`, '--input-type=module', '-e', script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 26 });
  const messages = JSON.parse(stdout) as string[];
  return Object.fromEntries(names.map((name, i) => [name, messages[i]]));
}

describe('refused', () => {
  let messages: Record<string, string>;
  beforeAll(async () => {
    messages = await refusals(new Map(Object.entries(CASES).map(([name, [file]]) => [name, file()])));
  });

  test.each(Object.keys(CASES))('%s', (name) => {
    expect(messages[name]).toMatch(CASES[name][1]);
  });

  test('and nothing was executed', () => {
    expect(existsSync(canary)).toBe(false);
  });
});

test('the files that the cases are made of are read', async () => {
  const sound = new Map([
    ['tensor', inArchive(state())],
    ['carrying', carrying(int(1))],
    ['legacy', legacy(state())],
    ['nested', carrying(pickle(')', Buffer.alloc(100_000, 0x85)))],
    ['metadata', inArchive(state({ rest: [pickle('}')] }))],
    ['little', torchArchive(state(), undefined, [{ name: 'model/byteorder', data: Buffer.from('little') }])],
  ]);
  expect(Object.values(await refusals(sound))).toEqual(Array(6).fill('no error'));
});

test.each(['legacy_pickle_sample', 'dino_b8_raw'])('%s.pth is refused wherever it ends', async (name) => {
  const whole = await readFile(join(GOLDEN_FOLDER, 'weights', `${name}.pth`));
  // Everywhere in the pickles and in the central directory, and every 997 bytes between.
  const ends = Array.from({ length: whole.length }, (_, i) => i).filter(
    (i) => i < 700 || i % 997 === 0 || i > whole.length - 200,
  );
  const messages = await refusals(new Map(ends.map((end) => [`${end}`, whole.subarray(0, end)])));
  expect(Object.values(messages).filter((message) => message === 'no error')).toEqual([]);
  expect(Object.keys(messages)).toHaveLength(ends.length);
});

describeWith(['/usr/bin/python3'], 'Python itself', () => {
  test('executes what is refused here', () => {
    const load = 'import pickle, sys; pickle.loads(sys.stdin.buffer.read())';
    expect(spawnSync('/usr/bin/python3', ['-c', load], { input: system() }).status).toBe(0);
    expect(existsSync(canary)).toBe(true);
  });
});
