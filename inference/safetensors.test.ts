import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGolden } from '../fixtures/golden.ts';
import { openSafetensors, readBytes, readFloats, writeSafetensors } from './safetensors.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A file with this header and `length` zero bytes of data. */
async function written(header: unknown, length: number): Promise<string> {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  const path = join(folder, 'case.safetensors');
  await writeFile(path, Buffer.concat([prefix, json, Buffer.alloc(length)]));
  return path;
}

test('reads a file written by the reference implementation', async () => {
  const file = await openGolden('model');
  expect(file.tensors.size).toBe(131);
  expect(file.metadata['format']).toBe('pt');
  expect(file.tensors.get('junction.queries')!.shape).toEqual([1, 196, 48]);
  expect(await readFloats(file, 'junction.queries')).toHaveLength(196 * 48);
});

test('what is written is read back, F16 to its precision, and no temporary file stays', async () => {
  const path = join(folder, 'own.safetensors');
  const values = Float32Array.of(1, -2.5, 1e-3, 3);
  await writeSafetensors(
    path,
    new Map([
      ['half', { shape: [3], values: values.subarray(0, 3), dtype: 'F16' as const }],
      ['full', { shape: [2, 2], values }],
      ['none', { shape: [0, 4], values: new Float32Array() }],
    ]),
    { seed: '7' },
  );
  const file = await openSafetensors(path);
  expect(file.metadata).toEqual({ seed: '7' });
  expect(file.tensors.get('full')!.offset % 4).toBe(0);
  expect(await readFloats(file, 'full')).toEqual(values);
  expect(await readFloats(file, 'none')).toHaveLength(0);
  const half = await readFloats(file, 'half');
  expect(half[1]).toBe(-2.5);
  expect(half[2]).toBeCloseTo(1e-3, 6);
  expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

const f32 = (from: number, to: number, shape = [(to - from) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [from, to],
});

test.each([
  ['overlap', { a: f32(0, 8), b: f32(4, 12) }, 12, 'b begins at 4, where 8 was expected'],
  ['gap', { a: f32(0, 8), b: f32(12, 16) }, 16, 'b begins at 12, where 8 was expected'],
  ['bytes that do not fit the shape', { a: f32(0, 8, [3]) }, 8, 'a has 8 bytes, F32 (3) has 12'],
  ['truncated data', { a: f32(0, 8) }, 4, 'its tensors end at byte'],
  ['unknown type', { a: { ...f32(0, 8), dtype: 'F8' } }, 8, 'its header cannot be read'],
  ['negative size', { a: f32(0, 8, [-2]) }, 8, 'its header cannot be read'],
  ['no JSON', '{"a":', 8, 'its header cannot be read'],
])('refuses a file with %s', async (_, header, length, message) => {
  await expect(openSafetensors(await written(header, length))).rejects.toThrow(message);
});

test('refuses a header longer than the file', async () => {
  const path = join(folder, 'short.safetensors');
  await writeFile(path, Buffer.from([255, 255, 0, 0, 0, 0, 0, 0, 123]));
  await expect(openSafetensors(path)).rejects.toThrow(
    'its header is said to have 65535 bytes, the file has 9',
  );
});

test('names the tensor that a file lacks, and the one that is no float', async () => {
  await expect(readBytes(await openGolden('model'), 'absent')).rejects.toThrow('has no tensor absent');
  await expect(readFloats(await openGolden('forward'), 'u8')).rejects.toThrow(
    'u8 is U8, expected F32 or F16',
  );
});

test('a tensor that its values do not fill is not written', async () => {
  const path = join(folder, 'never.safetensors');
  const tensors = new Map([['a', { shape: [3], values: new Float32Array(2) }]]);
  await expect(writeSafetensors(path, tensors)).rejects.toThrow('a: 2 values do not fill (3)');
  await expect(openSafetensors(path)).rejects.toThrow('ENOENT');
});
