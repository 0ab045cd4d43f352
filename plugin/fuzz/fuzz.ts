import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DicomPool } from '../../dicom/pool.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import { randomStream } from '../../fixtures/random.ts';
import { largestResidentMemory, resetLargestResidentMemory } from '../bench/resident-memory.ts';
import { mutated } from './mutation.ts';
import { seedFiles } from './seed-files.ts';

export interface FuzzOptions {
  cases: number;
  seed: number;
  /** Number of the first case; 0 by default. A case depends on seed and number alone. */
  from?: number;
  /** That one task may take; more is a failure. */
  timeoutMs: number;
}

/** A case that was neither read nor refused as it has to be. */
export interface FuzzFailure {
  case: number;
  file: string;
  mutations: string[];
  task: string;
  message: string;
  bytes: Uint8Array;
}

export interface FuzzReport {
  cases: number;
  /** Cases of which everything could be read. */
  read: number;
  /** Refused tasks by reason. */
  refusals: Record<string, number>;
  /** The largest rise of the process's resident memory within a case, and which one it was (Linux). */
  riseBytes: number;
  riseCase: number;
  seconds: number;
  failures: FuzzFailure[];
}

/**
 * Reads mutated files in `DicomPool` as the node does. A task may succeed or be refused by a `DicomError` that
 * names a tag or an offset; a thread that dies, an error of another kind and a task beyond its time are failures.
 */
export async function fuzz({ cases, seed, from = 0, timeoutMs }: FuzzOptions): Promise<FuzzReport> {
  const folder = await mkdtemp(join(tmpdir(), 'qfae-fuzz-'));
  const pool = new DicomPool({ threads: 2, timeoutMs });
  const report: FuzzReport = {
    cases,
    read: 0,
    refusals: {},
    riseBytes: 0,
    riseCase: from,
    seconds: 0,
    failures: [],
  };
  const started = performance.now();
  try {
    const seeds = await seedFiles(folder);
    for (let number = from; number < from + cases; number++) {
      const random = randomStream(seed, `case ${number}`);
      const { name, bytes: valid } = seeds[Math.floor(random() * seeds.length)];
      const { bytes, names } = mutated(valid, random);
      const path = join(folder, 'mutated.dcm');
      await writeFile(path, bytes);
      const before = await resetLargestResidentMemory();
      const outcomes = await readEverything(pool, path);
      const rise = (await largestResidentMemory()) - before;
      if (rise > report.riseBytes) Object.assign(report, { riseBytes: rise, riseCase: number });
      if (outcomes.every(({ error }) => error === undefined)) report.read += 1;
      for (const { task, error } of outcomes) {
        if (error === undefined) continue;
        if (isRefusal(error)) report.refusals[error.reason] = (report.refusals[error.reason] ?? 0) + 1;
        else {
          report.failures.push({
            case: number,
            file: name,
            mutations: names,
            task,
            message: error.message,
            bytes,
          });
        }
      }
    }
  } finally {
    await pool.close();
    await rm(folder, { recursive: true });
  }
  report.seconds = (performance.now() - started) / 1000;
  return report;
}

interface Outcome {
  task: string;
  error?: Error;
}

/** Many more than a mutated file holds, and few enough to be looped over. */
const mostFrames = 2 ** 20;

/** The header, and the first and last frame in each form. */
async function readEverything(pool: DicomPool, path: string): Promise<Outcome[]> {
  const attempt = async (task: string, work: Promise<unknown>): Promise<Outcome> => {
    try {
      await work;
      return { task };
    } catch (error) {
      return { task, error: error as Error };
    }
  };
  let frames = 1;
  const header = await attempt(
    'header',
    pool.readHeader(path).then(({ numberOfFrames }) => {
      if (numberOfFrames > mostFrames) throw new Error(`${numberOfFrames} frames are believed`);
      frames = Math.max(numberOfFrames, 1);
    }),
  );
  if (header.error !== undefined) return [header];
  return [
    header,
    ...(await Promise.all([
      attempt('frame', pool.readFrame(path, frames)),
      attempt('slice', pool.readSlice(path, 1, { colour: 'luma' })),
      attempt('picture', pool.readPicture(path, frames)),
      attempt('histogram', pool.readHistogram(path, 1)),
      attempt('encoded frame', pool.readEncodedFrame(path, 1)),
    ])),
  ];
}

function isRefusal(error: Error): error is DicomError {
  return (
    error instanceof DicomError &&
    error.reason !== 'worker' &&
    error.reason !== 'timeout' &&
    (error.tag !== undefined || error.offset !== undefined)
  );
}
