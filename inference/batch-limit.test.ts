import { BatchLimit, isOutOfMemory } from './batch-limit.ts';
import { Graph } from './onnx/graph.ts';
import { Session } from './session.ts';

/** Work that needs memory for `capacity` items, and notes the batches that it was given. */
function workWithin(capacity: number) {
  const batches: number[] = [];
  const work = (batch: readonly number[]) => {
    batches.push(batch.length);
    if (batch.length > capacity) {
      return Promise.reject(new Error('Failed to allocate memory for requested buffer of size 1'));
    }
    return Promise.resolve(batch.map((item) => -item));
  };
  return { batches, work };
}

const items = [1, 2, 3, 4, 5, 6, 7, 8, 9];

test('halves a batch for which memory does not suffice, goes on, and remembers', async () => {
  const limit = new BatchLimit(8);
  const { batches, work } = workWithin(3);
  expect(await limit.run(items, work)).toEqual(items.map((item) => -item));
  expect(batches).toEqual([8, 4, 2, 2, 2, 2, 1]);
  expect(limit.size).toBe(2);
  expect(await limit.run(items.slice(0, 4), work)).toEqual([-1, -2, -3, -4]);
  expect(batches.slice(7)).toEqual([2, 2]);
});

test('memory that does not suffice for one is an error, and other errors are not tried again', async () => {
  await expect(new BatchLimit(4).run(items, workWithin(0).work)).rejects.toThrow(
    'memory does not suffice for a batch of 1: Failed to allocate',
  );
  const limit = new BatchLimit(4);
  await expect(limit.run(items, () => Promise.reject(new Error('the thread has ended')))).rejects.toThrow(
    'the thread has ended',
  );
  expect(limit.size).toBe(4);
});

test('what onnxruntime says without memory is recognised, and its session goes on', async () => {
  const graph = new Graph();
  const x = graph.input('x', ['B', 1]);
  const square = graph.matMul(x, graph.transpose(x, [1, 0]));
  graph.output('y', graph.reduceMax(square, [1]));
  const session = await Session.open({ graph: graph.toBytes() });
  const run = (size: number) => session.run({ x: { data: new Float32Array(size).fill(3), dims: [size, 1] } });
  const error: unknown = await run(2 ** 22).catch((error: unknown) => error); // 64 TiB
  expect(isOutOfMemory(error)).toBe(true);
  expect([...(await run(2)).y.data]).toEqual([9, 9]);
  await session.close();
});

test.each([
  // As seen: Dawn on SwiftShader, onnxruntime's arena; CUDA's from its sources.
  'onnxruntime: WebGPU validation failed. Buffer size (2147483648) exceeds the max buffer size limit (1073741824).',
  'onnxruntime: WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid due to a previous error.',
  'onnxruntime: BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 26843545600',
  'onnxruntime: CUDA failure 2: out of memory ; GPU=0',
  'onnxruntime: CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0',
])('recognises %s', (message) => {
  expect(isOutOfMemory(new Error(message))).toBe(true);
});
