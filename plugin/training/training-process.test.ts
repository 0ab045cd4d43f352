import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addSlices } from '../../training/slice-cache.ts';
import { startTraining } from './training-process.ts';
import type { ProgressRecord } from './training-process.ts';

const STEPS = 4;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'training-process-'));
  const slices = Array.from({ length: 12 }, (_, patient) => ({
    pixels: Uint8Array.from({ length: 32 * 32 }, (_, i) => (i * (3 + patient)) % 200),
    ...{ rows: 32, columns: 32, patient: `${patient}`, study: '1' },
  }));
  await addSlices(join(folder, 'cache'), slices);
});
afterAll(() => rm(folder, { recursive: true }));

const command = (run: string, ...more: string[]) =>
  [
    ...([
      'train',
      '--cache',
      join(folder, 'cache'),
      '--profile',
      'untrained',
      '--run',
      join(folder, run),
    ] as const),
    ...['--epochs', '2', '--batch-size', '4', '--micro-batch', '2', '--alpha', '0.25', '--threads', '1'],
    ...more,
  ] as const;

const data = () => join(folder, 'data');

test('a training is cancelled after a step, goes on when started again, and ends in a bundle', async () => {
  const priorities = new Set<number>();
  const first: ProgressRecord[] = [];
  const training = startTraining(command('run'), data(), (record) => {
    first.push(record);
    if (record.type === 'step') training.cancel();
  });
  const watch = setInterval(
    () =>
      void threadPriorities(training.pid).then((all) => {
        for (const nice of all) priorities.add(nice);
      }),
    50,
  );
  expect(await training.result).toEqual({ status: 'cancelled' });
  clearInterval(watch);
  expect(first[0]).toMatchObject({ type: 'plan', totalSteps: STEPS });
  const done = first.filter(({ type }) => type === 'step').length;
  expect(done).toBeGreaterThan(0);
  expect(done).toBeLessThan(STEPS);
  expect(priorities).toContain(constants.priority.PRIORITY_LOW);

  const steps: number[] = [];
  const rest = startTraining(command('run'), data(), (record) => {
    if (record.type === 'step') steps.push(record.step);
  });
  expect(await rest.result).toEqual({
    status: 'done',
    bundle: expect.stringMatching(/^untrained@/) as string,
  });
  expect(steps).toEqual(Array.from({ length: STEPS - done }, (_, i) => done + i));
}, 600_000);

test('a training that cannot be done says why', async () => {
  const training = startTraining(command('few', '--held-out', '0.99'), data(), () => undefined);
  await expect(training.result).rejects.toThrow('must be held out');
}, 600_000);

test('when the process that started it is killed, the training ends with a checkpoint', async () => {
  const program = `
    import { startTraining } from ${JSON.stringify(join(import.meta.dirname, 'training-process.ts'))};
    const { pid } = startTraining(${JSON.stringify(command('orphan', '--epochs', '500'))}, ${JSON.stringify(data())}, ({ type }) => console.log(pid, type));
  `;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { PATH: process.env['PATH'] },
  });
  let pid = 0;
  parent.stdout.setEncoding('utf8').on('data', (text: string) => {
    pid = Number.parseInt(text);
    if (text.includes('step')) parent.kill('SIGKILL');
  });
  let errors = '';
  parent.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  await once(parent, 'exit');
  expect(errors).toBe('');
  while ((await threadPriorities(pid)).length > 0) await sleep(100);
  expect(await readdir(join(folder, 'orphan'))).toContain('checkpoint.safetensors');
}, 600_000);

/**
 * The nice values of a process's threads (proc(5): the 19th field of `stat`); none if it has ended, also where nobody
 * asks for its exit status.
 */
async function threadPriorities(pid: number): Promise<number[]> {
  const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
  const all = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/stat`, 'utf8').catch(() => '')),
  );
  // The second field is a name in brackets, which may hold spaces; behind it stands the state.
  const fields = all.filter(Boolean).map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' '));
  return fields.filter(([state]) => state !== 'Z').map((each) => Number(each[16]));
}
