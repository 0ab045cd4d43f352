import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GOLDEN_FOLDER, maxError } from '../../fixtures/golden.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import {
  int,
  pickle,
  stateDictionary,
  storage,
  tensor,
  torchArchive,
  tuple,
} from '../../fixtures/torch-archive.ts';
import { readTorchFile } from './torch-file.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tensor-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function read(data: Uint8Array, bytes: Uint8Array) {
  const path = join(folder, 'case.pth');
  await writeFile(path, torchArchive(data, { 0: bytes }));
  return readTorchFile(path);
}

// 1, −2.5, 0.099975586 (the nearest half), 65504 (the largest half), as IEEE 754 has them.
test.each([
  [
    'DoubleStorage',
    8,
    '000000000000f03f00000000000004c0000000000098b93f0000000000fcef40',
    'F32',
    [1, -2.5, 0.0999755859375, 65504],
  ],
  ['FloatStorage', 4, '0000803f000020c000c0cc3d00e07f47', 'F32', [1, -2.5, 0.0999755859375, 65504]],
  ['HalfStorage', 2, '003c00c1662eff7b', 'F16', [1, -2.5, 0.0999755859375, 65504]],
  ['BFloat16Storage', 2, '803f20c0cd3d8047', 'F32', [1, -2.5, 0.10009765625, 65536]],
])('values of a %s', async (type, size, hex, dtype, expected) => {
  const state = stateDictionary({ weight: tensor({ of: storage({ type }) }) });
  const bytes = Buffer.from(hex, 'hex');
  expect(bytes).toHaveLength(4 * size);
  const weight = (await read(state, bytes)).get('weight')!;
  expect(weight.dtype).toBe(dtype);
  expect([...(await weight.read())]).toEqual(expected);
});

test('whole numbers are no weights', async () => {
  const state = stateDictionary({ weight: tensor({ of: storage({ type: 'IntStorage' }) }) });
  const weight = (await read(state, Buffer.alloc(16))).get('weight')!;
  await expect(weight.read()).rejects.toThrow('I32 is no floating-point type');
});

test('views of one storage: transposed, with an offset, repeated, scalar, empty, a parameter', async () => {
  const of = storage({ length: 6 });
  const state = stateDictionary({
    whole: tensor({ of, shape: [2, 3], strides: [3, 1] }),
    transposed: tensor({ of, shape: [3, 2], strides: [1, 3] }),
    column: tensor({ of, offset: int(1), shape: [2], strides: [3] }),
    repeated: tensor({ of, offset: int(4), shape: [2, 2], strides: [0, 1] }),
    scalar: tensor({ of, offset: int(5), shape: [], strides: [] }),
    empty: tensor({ of, shape: [0, 3], strides: [3, 1] }),
    one: tensor({ of, offset: int(2), shape: [1, 1, 1], strides: [9, 9, 9] }),
    parameter: pickle(
      'ctorch._utils\n_rebuild_parameter\n',
      tuple(tensor({ of, shape: [2], strides: [1] }), pickle(0x88), pickle('ccollections\nOrderedDict\n)R')),
      'R',
    ),
  });
  const views = await read(state, new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer));
  const values: Record<string, number[]> = {};
  for (const [name, view] of views) values[name] = [...(await view.read())];
  expect(values).toEqual({
    whole: [0, 1, 2, 3, 4, 5],
    transposed: [0, 3, 1, 4, 2, 5],
    column: [1, 4],
    repeated: [4, 5, 4, 5],
    scalar: [5],
    empty: [],
    one: [2],
    parameter: [0, 1],
  });
});

test('an OrderedDict with _metadata, as state_dict() returns it, beside values that are no tensors', async () => {
  const ordered = pickle('ccollections\nOrderedDict\n)R');
  const data = pickle(
    0x80,
    2,
    '}(',
    'X',
    5,
    0,
    0,
    0,
    'model',
    ordered,
    'X',
    1,
    0,
    0,
    0,
    'w',
    tensor(),
    's',
    '}X',
    9,
    0,
    0,
    0,
    '_metadata',
    ordered,
    'sb',
    'X',
    5,
    0,
    0,
    0,
    'epoch',
    'K',
    7,
    'u.',
  );
  expect([...(await read(data, Buffer.alloc(16))).keys()]).toEqual(['w']);
});

describeWith(['/usr/bin/python3'], 'archives of more than 4 GiB', () => {
  test('are read: the same file with zip64 entries', async () => {
    const source = join(GOLDEN_FOLDER, 'weights', 'dino_b8_raw.pth');
    const path = join(folder, 'zip64.pth');
    const script = `
import sys, zipfile
zipfile.ZIP64_LIMIT = 0
with zipfile.ZipFile(sys.argv[1]) as old, zipfile.ZipFile(sys.argv[2], 'w') as new:
    for info in old.infolist():
        with new.open(info.filename, 'w', force_zip64=True) as entry:
            entry.write(old.read(info))`;
    expect(spawnSync('/usr/bin/python3', ['-c', script, source, path]).status).toBe(0);
    expect((await readFile(path)).includes(Buffer.of(0xff, 0xff, 0xff, 0xff))).toBe(true);
    const [actual, expected] = [await readTorchFile(path), await readTorchFile(source)];
    expect([...actual.keys()]).toEqual([...expected.keys()]);
    for (const [name, tensor] of expected) {
      expect(maxError(await actual.get(name)!.read(), await tensor.read())).toBe(0);
    }
  });
});
