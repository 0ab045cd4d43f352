import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lockFolder } from '../inference/folder-lock.ts';
import { Graph } from '../inference/onnx/graph.ts';
import { Engine, freshState } from './engine.ts';
import { mean } from './loss.ts';
import { readCheckpoint } from './checkpoint.ts';
import { readRecords } from './run-log.ts';
import { checkpointPath, logPath, train } from './trainer.ts';
import { differentiated } from './training-graph.ts';

const VALUES = 100_000;
/** Weights and two moments. */
const CHECKPOINT_BYTES = 3 * 4 * VALUES;

let engine: Engine;

beforeEach(async () => {
  const graph = new Graph();
  const weight = graph.input('weight', [VALUES]);
  const x = graph.input('x', [1]);
  const error = graph.sub(weight, x);
  const loss = mean(graph, graph.mul(error, error));
  engine = await Engine.open({
    training: differentiated(graph, loss, new Map([['weight', weight]]), { x: [1] }),
  });
});
afterEach(() => engine.close());

/** Trains towards `target(step)`, with a checkpoint each step. */
function run(folder: string, target: (step: number) => number): Promise<number> {
  return train({
    folder,
    settings: 'test',
    engine,
    batches: { step: (step) => [Promise.resolve(Float32Array.of(target(step)))] },
    schedule: { maximumRate: 0.1, totalSteps: 10 },
    initialState: () => [['weight', freshState([VALUES], new Float32Array(VALUES))]],
    feeds: (x) => ({ x: { data: x, dims: [1] } }),
    checkpointEvery: 1,
  });
}

async function weights(folder: string): Promise<{ step: number; weight: Float32Array }> {
  const { step, state } = (await readCheckpoint(checkpointPath(folder)))!;
  for await (const [, { weight }] of state) return { step, weight };
  throw new Error('an empty checkpoint');
}

describe('a run that cannot go on', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'run-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  test('ends where loss and gradient are no numbers, with the checkpoint before it; then goes on from there', async () => {
    await expect(run(folder, (step) => (step === 3 ? NaN : 1))).rejects.toThrow(
      'training stopped at step 3: the gradient is not a finite number',
    );
    const { step, weight } = await weights(folder);
    expect(step).toBe(3);
    expect(weight.every((value) => Number.isFinite(value) && value > 0)).toBe(true);
    expect((await readRecords(logPath(folder))).at(-1)).toMatchObject({ type: 'failed', step: 3 });

    expect(await run(folder, () => 1)).toBe(10);
    expect((await weights(folder)).step).toBe(10);
  });

  test('does nothing in a folder where another one runs', async () => {
    const lock = await lockFolder(folder);
    await expect(run(folder, () => 1)).rejects.toThrow('another process has this folder open');
    lock.release();
    expect(await run(folder, () => 1)).toBe(10);
  });
});

const disk = mkdtempSync(join(tmpdir(), 'disk-'));
// One checkpoint fits, a second one beside it does not.
const size = `size=${Math.round(1.5 * CHECKPOINT_BYTES)}`;
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', size, 'tmpfs', disk]).status === 0;
if (!mounted) rmdirSync(disk);

(mounted ? describe : describe.skip)('on a disk that is full (skipped where nothing can be mounted)', () => {
  afterAll(async () => {
    spawnSync('umount', [disk]);
    await rm(disk, { recursive: true });
  });

  test('the last good checkpoint stays, and the reason is told', async () => {
    await expect(run(disk, () => 1)).rejects.toThrow(
      /training stopped at step 1: the disk is full\. The last checkpoint in .* is whole/,
    );
    const { step, weight } = await weights(disk);
    expect(step).toBe(1);
    expect(weight).toHaveLength(VALUES);
    expect((await readFile(checkpointPath(disk))).length).toBeGreaterThan(CHECKPOINT_BYTES);
    expect((await readdir(disk)).sort()).toEqual(['checkpoint.safetensors', 'log.jsonl']);
    expect((await readRecords(logPath(disk))).at(-1)).toMatchObject({
      type: 'failed',
      step: 1,
      reason: 'the disk is full',
    });
  });
});
