import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCTSeries } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { stow } from '../../fixtures/stow.ts';
import { scoredStudy } from '../../fixtures/worklist.ts';
import { benchScore } from './score.ts';

/** What the node adds to the model's own time; all with the small bundle that it starts with. */
export interface JobsBench {
  /** Studies of two small slices that are complete at the same time, and how many of them are done in a second. */
  jobs: number;
  jobsPerSecond: number;
  /** A study that comes alone: its slices, and the seconds from the end of its quiet time until it is scored. */
  slices: number;
  secondsToResult: number;
  /** Seconds of the full-size model for as many slices, measured in the same run. */
  fullSizeSeconds: number;
  /** `secondsToResult`, the small model's own time included, as a share of `fullSizeSeconds`. */
  overheadShare: number;
}

const quietSeconds = 2;
const jobs = 40;
/** A head in slices of 5 mm. */
const slices = 28;
/** Studies that come alone; the median counts. */
const alone = 5;

/** How many jobs the node does in a second, and how long a study takes beyond its scoring. */
export async function benchJobs(): Promise<JobsBench> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-bench-'));
  const node = await startNodeProcess({
    QFAE_ARRIVAL_QUIET_SECONDS: String(quietSeconds),
    QFAE_LOG_LEVEL: 'warn',
  });
  try {
    await sendStudy(node, folder, 'first', { slices: 2, side: 64 }); // opens the model
    const burst = [];
    for (let i = 0; i < jobs; i++) burst.push(await send(node, folder, `job${i}`, { slices: 2, side: 64 }));
    const done = [];
    for (const { uid } of burst) done.push(await finished(node, uid));
    const begun = Math.min(...done.map(({ requestedAt }) => requestedAt));
    const ended = Math.max(...done.map(({ finishedAt }) => finishedAt));

    const times = [];
    for (let i = 0; i < alone; i++) {
      times.push(await sendStudy(node, folder, `alone${i}`, { slices, side: 256 }));
    }
    const secondsToResult = times.sort((a, b) => a - b)[Math.floor(alone / 2)];
    const [{ secondsPerSlice }] = await benchScore({
      batches: [4],
      runs: 1,
      prepack: false,
      runtime: { provider: 'cpu', precision: 'auto' },
    });
    const fullSizeSeconds = slices * secondsPerSlice;
    return {
      jobs,
      jobsPerSecond: (1000 * jobs) / (ended - begun),
      slices,
      secondsToResult,
      fullSizeSeconds,
      overheadShare: secondsToResult / fullSizeSeconds,
    };
  } finally {
    await node.stop();
    await rm(folder, { recursive: true });
  }
}

interface Size {
  slices: number;
  side: number;
}

/** Sends a study; returns its UID and when the answer came. */
async function send(node: NodeProcess, folder: string, name: string, { slices, side }: Size) {
  const series = await writeCTSeries(join(folder, name), { name, slices, rows: side, columns: side });
  const answer = await stow(
    node.dicomWebUrl,
    series.map(({ bytes }) => bytes),
  );
  if (answer.status !== 200) throw new Error(`STOW-RS was answered ${answer.status}`);
  return { uid: series[0].studyInstanceUID, sentAt: Date.now() };
}

/** Sends a study and waits for its result; returns the seconds from the end of its quiet time. */
async function sendStudy(node: NodeProcess, folder: string, name: string, size: Size): Promise<number> {
  const { uid, sentAt } = await send(node, folder, name, size);
  const { finishedAt } = await finished(node, uid);
  return (finishedAt - sentAt) / 1000 - quietSeconds;
}

/** Waits until a study is scored; returns when its job was made and when it was done, in milliseconds. */
async function finished(node: NodeProcess, uid: string) {
  await scoredStudy(node.url, uid, ({ status }) => status === 'scored', 600);
  const answer = await fetch(`${node.url}/api/v1/jobs?study=${uid}`);
  const { jobs } = (await answer.json()) as { jobs: { requestedAt: string; finishedAt: string }[] };
  return { requestedAt: Date.parse(jobs[0].requestedAt), finishedAt: Date.parse(jobs[0].finishedAt) };
}
