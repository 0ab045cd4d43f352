import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { maxError } from '../fixtures/golden.ts';
import { addBundle, bundleIDs } from './bundle/registry.ts';
import { ensureUntrained } from './bundle/untrained.ts';
import { exactInt8 } from './exact-int8.ts';
import { Graph } from './onnx/graph.ts';
import type { InputSlice } from './preprocess.ts';
import { Scorer } from './scorer.ts';
import type { SliceScore } from './scorer.ts';
import { Session } from './session.ts';

let root: string;
let scorer: Scorer;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'scorer-'));
  await ensureUntrained(root);
  scorer = await Scorer.open(root, 'untrained', { batchSize: 3 });
});
afterAll(async () => {
  await scorer.close();
  await rm(root, { recursive: true });
});

/** A disc that differs from slice to slice. */
function slice(i: number, rows = 60 + i, columns = 50 + 2 * i): InputSlice {
  const pixels = Uint8Array.from({ length: rows * columns }, (_, j) => {
    const [x, y] = [(j % columns) / columns - 0.5, Math.floor(j / columns) / rows - 0.5];
    return x * x + y * y < 0.05 + 0.02 * i ? 80 + 20 * i : 10;
  });
  return { pixels, rows, columns };
}
const slices = [0, 1, 2, 3, 4, 5, 6].map((i) => slice(i));

async function collect(scores: AsyncIterable<SliceScore>): Promise<SliceScore[]> {
  const result = [];
  for await (const score of scores) result.push(score);
  return result;
}

test('scores come in order and do not depend on the batch size', async () => {
  const batches = await collect(scorer.score(slices));
  const single = await Scorer.open(root, 'untrained', { batchSize: 1, threads: 1 });
  const singles = await collect(single.score(slices));
  await single.close();

  expect(batches).toHaveLength(slices.length);
  batches.forEach((score, i) => {
    expect(Math.abs(score.rawScore - singles[i].rawScore)).toBeLessThan(1e-5);
    expect(maxError(score.map, singles[i].map)).toBeLessThan(1e-5);
    expect(score.map).toHaveLength(score.mapRows * score.mapColumns);
    expect(score.gridToSlice).toEqual([slices[i].columns / 112, 0, 0, 0, slices[i].rows / 112, 0]);
    expect(score.flagged).toBe(score.rawScore > score.threshold);
    expect(score.percentile).toBeCloseTo(100 * (1 - score.pValue), 12);
  });
  expect(new Set(batches.map(({ rawScore }) => rawScore)).size).toBe(slices.length);
});

test('the study scores as its highest slice', async () => {
  const scores = await collect(scorer.score(slices));
  const highest = scores.reduce((a, b) => (b.rawScore > a.rawScore ? b : a));
  const { rawScore, pValue, percentile, threshold, flagged } = highest;
  expect(scorer.studyScore(scores)).toEqual({ rawScore, pValue, percentile, threshold, flagged });
  expect(() => scorer.studyScore([])).toThrow('without scored slices');
});

test('no more than two batches are taken ahead of the reader', async () => {
  let taken = 0;
  function* source() {
    for (;;) {
      taken += 1;
      yield slice(taken % 5);
    }
  }
  let read = 0;
  for await (const score of scorer.score(source())) {
    expect(score.map).toHaveLength(112 * 112);
    read += 1;
    expect(taken - read).toBeLessThanOrEqual(2 * 3);
    if (read === 10) break;
  }
});

test('an aborted signal ends scoring with its reason', async () => {
  const controller = new AbortController();
  const scores = scorer.score(slices, controller.signal);
  await scores.next();
  controller.abort(new Error('no longer wanted'));
  await expect(collect(scores)).rejects.toThrow('no longer wanted');
  await expect(collect(scorer.score(slices, AbortSignal.abort(new Error('never'))))).rejects.toThrow('never');
});

test('a slice that is none ends scoring, and the scorer goes on', async () => {
  const broken = { pixels: new Uint8Array(3), rows: 2, columns: 2 };
  await expect(collect(scorer.score([slices[0], broken]))).rejects.toThrow('cannot have 3 pixels');
  expect(await collect(scorer.score([slices[0]]))).toHaveLength(1);
});

test('a slice is prepared on another thread than the one that scores are asked of', async () => {
  const wide = { pixels: new Uint8Array(5000 ** 2).fill(90), rows: 5000, columns: 5000 };
  const processorTime = ({ user, system }: NodeJS.CpuUsage) => user + system;
  const used: { here: number; anywhere: number }[] = [];
  function* source() {
    // In one batch: between the two, the first one is prepared, and nothing is scored.
    for (const slice of [wide, slices[0]]) {
      used.push({
        here: processorTime(process.threadCpuUsage()),
        anywhere: processorTime(process.cpuUsage()),
      });
      yield slice;
    }
  }
  expect(await collect(scorer.score(source()))).toHaveLength(2);
  const [before, after] = used;
  expect(after.here - before.here).toBeLessThan((after.anywhere - before.anywhere) / 2);
});

test('when the thread ends, what waits on it is rejected; a new scorer works', async () => {
  const doomed = await Scorer.open(root, 'untrained', { batchSize: 2 });
  const scoring = collect(doomed.score(slices));
  await Promise.all([expect(scoring).rejects.toThrow('was closed; open it again'), doomed.close()]);
  await expect(collect(doomed.score(slices))).rejects.toThrow('open it again');

  const again = await Scorer.open(root, 'untrained');
  expect(await collect(again.score(slices.slice(0, 2)))).toHaveLength(2);
  await again.close();
});

test('a graph that onnxruntime refuses is refused', async () => {
  await expect(Session.open({ graph: Uint8Array.of(1, 2, 3) })).rejects.toThrow('onnxruntime: ');
});

test('inputs that do not fit the graph are refused, and the session goes on', async () => {
  const graph = new Graph();
  graph.output('y', graph.exp(graph.input('x', ['B', 2])));
  const session = await Session.open({ graph: graph.toBytes() });
  const feed = (size: number) => session.run({ x: { data: new Float32Array(size), dims: [1, size] } });
  await expect(feed(3)).rejects.toThrow('onnxruntime: ');
  expect([...(await feed(2)).y.data]).toEqual([1, 1]);
  await session.close();
});

test('a bundle whose reference image scores otherwise here is refused in every precision', async () => {
  const { id, reference, ...manifest } = scorer.bundle;
  expect(scorer.referenceScore).toBeCloseTo(reference.rawScore, 4);
  const moved = async (factor: number) =>
    (
      await addBundle(root, {
        ...manifest,
        reference: { ...reference, rawScore: factor * reference.rawScore },
      })
    ).id;
  await expect(Scorer.open(root, await moved(1.001))).rejects.toThrow(/reference image scores .* instead of/);
  expect(await bundleIDs(root)).toContain(id);
  const further = await moved(1.2);
  for (const precision of ['float16', 'int8'] as const) {
    await expect(Scorer.open(root, further, { precision })).rejects.toThrow(/reference image scores/);
  }
});

// Elsewhere `chooseRuntime` refuses it.
(exactInt8() ? test : test.skip)(
  'in int8 a score is near, and depends on nothing that is scored with it',
  async () => {
    const int8 = await Scorer.open(root, 'untrained', { precision: 'int8', batchSize: 4 });
    const together = await collect(int8.score(slices));
    const [alone] = await collect(int8.score([slices[2]]));
    await int8.close();
    expect(together[2]).toEqual(alone);
    const exact = await collect(scorer.score(slices));
    const errors = together.map(({ rawScore }, i) => Math.abs(rawScore / exact[i].rawScore - 1));
    expect(Math.max(...errors)).toBeLessThan(0.05);
    expect(Math.max(...errors)).toBeGreaterThan(1e-5); // it was not float32
  },
);

test('bundles and options that cannot be scored with are refused', async () => {
  await expect(Scorer.open(root, 'absent')).rejects.toThrow('no bundle absent');
  await expect(Scorer.open(root, 'untrained', { batchSize: 0 })).rejects.toThrow('batchSize 0');
  const { id, ...manifest } = scorer.bundle;
  const twins = { ...manifest, name: 'twins', heads: [manifest.heads[0], manifest.heads[0]] };
  const ensemble = await addBundle(root, twins);
  expect(id).not.toBe(ensemble.id);
  await expect(Scorer.open(root, 'twins')).rejects.toThrow('an ensemble of 2 heads');
});
