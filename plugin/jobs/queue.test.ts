import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openEmbeddedDatabase, type Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import { settingsSchema } from '../settings.ts';
import { findJob, listJobs, type Job } from './jobs.ts';
import { JobQueue, TimeLimitError, type ScoreStudy } from './queue.ts';
import { beginRun, RunLostError, updateScoring, type Run } from './scorings.ts';

let folder: string;
let database: Database;
let queue: JobQueue;
const settings = settingsSchema.parse({}).jobs;
const worker = 'test';

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-queue-'));
  database = await openEmbeddedDatabase(folder);
  queue = await open();
});

afterEach(async () => {
  await queue.close(1000);
  await database.close();
  rmSync(folder, { recursive: true });
});

function open(changed: Partial<typeof settings> = {}): Promise<JobQueue> {
  const log = createLog('silent');
  return JobQueue.open({ database, log, settings: { ...settings, ...changed }, worker });
}

async function request(studyInstanceUID: string, priority?: number): Promise<string | undefined> {
  await sleep(2); // which is the older one is told by a clock of milliseconds
  const study = { archive: 'local', studyInstanceUID };
  return database.transaction((transaction) =>
    queue.request(transaction, study, priority === undefined ? {} : { priority }),
  );
}

async function until(id: string, holds: (job: Job) => boolean): Promise<Job> {
  for (;;) {
    const job = (await findJob(database, id))!;
    if (holds(job)) return job;
    await sleep(50);
  }
}

/** A worker that runs each job by `body` and enters what came of it. */
function working(body: (run: Run, signal: AbortSignal) => Promise<void>): ScoreStudy {
  return async (id, { signal }) => {
    const begun = await beginRun(database, id, worker);
    if (!begun) return;
    try {
      await body(begun.run, signal);
      await updateScoring(database, begun.run, { state: 'scored', finishedAt: new Date() });
    } catch (error) {
      if (error instanceof RunLostError) return;
      const reason = (signal.aborted ? (signal.reason as Error) : (error as Error)).message;
      await updateScoring(database, begun.run, { state: 'failed', reason, finishedAt: new Date() });
    }
  };
}

test('jobs of higher priority go first, then the older; a study that waits is not queued twice', async () => {
  const ids = [
    await request('1.1'),
    await request('1.2', 5),
    await request('1.3', 5),
    await request('1.4', -1),
  ];
  expect(await request('1.1')).toBeUndefined();
  const order: string[] = [];
  await queue.work(
    working((run) => {
      order.push(run.scoringID);
      return Promise.resolve();
    }),
  );
  await until(ids[3]!, ({ state }) => state === 'scored');
  expect(order).toEqual([ids[1], ids[2], ids[0], ids[3]]);
  const jobs = await listJobs(database, { states: ['scored'], limit: 2, offset: 1 });
  expect(jobs.map(({ studyInstanceUID }) => studyInstanceUID)).toEqual(['1.3', '1.2']);
  expect(jobs[0]).toMatchObject({ priority: 5, worker, failedAttempts: 0, nextAttemptAt: null });
});

test('an attempt that fails is made again later, and the list says why and when', async () => {
  const id = (await request('1.1'))!;
  let failedAt = Infinity;
  await queue.work(async (scoringID) => {
    const { run } = (await beginRun(database, scoringID, worker))!;
    await updateScoring(database, run, { state: 'queued', step: 'retrieve', reason: 'the archive is away' });
    failedAt = Date.now();
    throw new Error('the archive is away');
  });
  const job = await until(id, ({ state, failedAttempts }) => state === 'queued' && failedAttempts === 1);
  expect(job).toMatchObject({ state: 'queued', step: 'retrieve', reason: 'the archive is away' });
  expect(job.nextAttemptAt!.getTime()).toBeGreaterThan(failedAt);
});

test('a job that failed can be retried, one that waits cannot', async () => {
  const id = (await request('1.1', 3))!;
  await expect(queue.retry(id)).rejects.toThrow(/is queued: only failed and cancelled/);
  let attempts = 0;
  await queue.work(
    working(() => (++attempts === 1 ? Promise.reject(new Error('unreadable')) : Promise.resolve())),
  );
  await until(id, ({ state }) => state === 'failed');
  expect(await queue.retry(id)).toMatchObject({ id, state: 'queued', reason: null, priority: 3 });
  await until(id, ({ state }) => state === 'scored');
  await expect(queue.retry('nonsense')).rejects.toThrow(/no job nonsense/);
});

test('a cancelled job is not begun; one that runs loses its mark and is broken off', async () => {
  const waiting = (await request('1.1'))!;
  expect(await queue.cancel(waiting)).toMatchObject({ state: 'cancelled' });
  const running = (await request('1.2'))!;
  const begun: string[] = [];
  const lost = new Promise((resolve) => {
    void queue.work(
      working(async (run) => {
        begun.push(run.scoringID);
        for (;;) {
          await sleep(20);
          await updateScoring(database, run, { step: 'score' }).catch((error: unknown) => {
            resolve(error);
            throw error;
          });
        }
      }),
    );
  });
  await until(running, ({ step }) => step === 'score');
  await queue.cancel(running);
  expect(await lost).toBeInstanceOf(RunLostError);
  expect(begun).toEqual([running]);
  expect(await findJob(database, running)).toMatchObject({ state: 'cancelled' });
  await expect(queue.cancel(running)).rejects.toThrow(/is cancelled: only one that waits or runs/);
});

test('a job that runs for too long is told so', async () => {
  await queue.close(1000);
  queue = await open({ timeLimitSeconds: 0.5 });
  const id = (await request('1.1'))!;
  await queue.work(working((_run, signal) => sleep(60_000, undefined, { signal })));
  const { reason } = await until(id, ({ state }) => state === 'failed');
  expect(reason).toBe(new TimeLimitError('took longer than 0.5 s').message);
});

test('two scorings of one study do not run at once, and an earlier run cannot write over a later one', async () => {
  const first = (await request('1.1'))!;
  const { run: stalled } = (await beginRun(database, first, 'one'))!;
  const second = (await request('1.1'))!;
  expect(second).not.toBe(first);
  await expect(beginRun(database, second, 'two')).rejects.toThrow('another scoring of the study runs');
  const { run } = (await beginRun(database, first, 'two'))!;
  await expect(updateScoring(database, stalled, { step: 'store' })).rejects.toThrow(RunLostError);
  await updateScoring(database, run, { state: 'scored', finishedAt: new Date() });
  expect(await beginRun(database, second, 'one')).toBeDefined();
});

test('a study that ends the process again and again fails in the end', async () => {
  const id = (await request('1.1'))!;
  for (let i = 0; i < 10; i++) expect(await beginRun(database, id, worker)).toBeDefined();
  expect(await beginRun(database, id, worker)).toBeUndefined();
  expect(await findJob(database, id)).toMatchObject({
    state: 'failed',
    reason: 'the process ended 10 times while the study was scored',
  });
});

test('what the queue lost is queued again', async () => {
  const id = (await request('1.1'))!;
  expect(await queue.recoverLost()).toBe(0);
  await database.query('delete from pgboss.job');
  expect(await queue.recoverLost()).toBe(1);
  await queue.work(working(() => Promise.resolve()));
  await until(id, ({ state }) => state === 'scored');
  expect(await queue.recoverLost()).toBe(0);
});
