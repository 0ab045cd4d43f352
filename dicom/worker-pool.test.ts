import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { WorkerPool } from './worker-pool.ts';

let folder: string;
let pool: WorkerPool<string, string>;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-worker-pool-'));
  const worker = join(folder, 'worker.mjs');
  writeFileSync(
    worker,
    `import { threadId } from 'node:worker_threads';
    export default async function run(task) {
      if (task === 'hang') while (true);
      if (task === 'exit') process.exit(3);
      if (task === 'throw') throw new RangeError('unexpected');
      if (task === 'refuse')
        return { error: { reason: 'truncated', detail: 'cut', place: { tag: '7FE00010', offset: 42 } } };
      return { result: task + ' ' + (task === 'thread' ? threadId : '') };
    }`,
  );
  pool = new WorkerPool(pathToFileURL(worker), { threads: 2, timeoutMs: 5000 });
});

afterAll(async () => {
  await pool.close();
  rmSync(folder, { recursive: true });
});

test('a task that hangs is stopped, its thread is replaced, tasks beside and behind it are unharmed', async () => {
  await expect(pool.run('warm')).resolves.toBe('warm ');
  const hanging = [pool.run('hang'), pool.run('hang')];
  const waiting = ['a', 'b', 'c'].map((task) => pool.run(task));
  for (const outcome of await Promise.allSettled(hanging))
    expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'DicomError', reason: 'timeout' } });
  // They waited as long as the limit of a task: waiting does not count.
  await expect(Promise.all(waiting)).resolves.toEqual(['a ', 'b ', 'c ']);
});

test('a thread that dies is replaced', async () => {
  const [died, beside] = await Promise.allSettled([pool.run('exit'), pool.run('beside')]);
  expect(died).toMatchObject({ status: 'rejected', reason: { name: 'DicomError', reason: 'worker' } });
  expect(beside).toMatchObject({ status: 'fulfilled', value: 'beside ' });
  const threads = await Promise.all(Array.from({ length: 6 }, () => pool.run('thread')));
  expect(threads).toHaveLength(6);
});

test('errors keep their fields', async () => {
  await expect(pool.run('refuse')).rejects.toMatchObject({
    name: 'DicomError',
    message: 'cut at (7FE0,0010), byte 42',
    reason: 'truncated',
    tag: '7FE00010',
    offset: 42,
  });
  await expect(pool.run('throw')).rejects.toMatchObject({
    reason: 'worker',
    message: 'the worker failed: unexpected',
  });
});

test('closing rejects what is running and waiting', async () => {
  const worker = pathToFileURL(join(folder, 'worker.mjs'));
  const closing = new WorkerPool<string, string>(worker, { threads: 1, timeoutMs: 60_000 });
  const outcomes = Promise.allSettled([closing.run('hang'), closing.run('a')]);
  await closing.close();
  for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected' });
});
