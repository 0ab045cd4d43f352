import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { windowTransform } from '../../dicom/decoding/voi-lut.ts';
import { sampleStudies } from '../../fixtures/head-studies.ts';
import type { BrainStudy } from '../../fixtures/brain-study.ts';
import { bundleID, listBundles } from '../../inference/bundle/registry.ts';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { Scorer } from '../../inference/scorer.ts';
import { ensureShippedBundles, shippedFolder } from './shipped-bundles.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'shipped-'));
  await ensureShippedBundles(root);
});
afterAll(() => rm(root, { recursive: true }));

const names = ['brain-t1-demo', 'chest-xray-demo'];

test.each(names)(
  '%s comes with the node, in less than 20 MB, promoted, and scores its reference as recorded',
  async (name) => {
    const id = await bundleID(root, name);
    expect((await stat(join(shippedFolder, `${id}.tar`))).size).toBeLessThan(20e6);
    const listed = await listBundles(root);
    expect(listed.find(({ bundle }) => bundle.id === id)?.promoted).toBe(true);
    await verifyBundle(root, id);
  },
);

test('nothing is added twice', async () => {
  const before = await readdir(join(root, 'bundles'));
  await ensureShippedBundles(root);
  expect(await readdir(join(root, 'bundles'))).toEqual(before);
  expect(before).toHaveLength(names.length + 1);
});

test('of the demo’s studies the one with the lesion has the higher percentile', async () => {
  const { healthy, abnormal } = sampleStudies();
  const scorer = await Scorer.open(root, 'brain-t1-demo');
  const percentile = async (study: BrainStudy) => {
    const scores = [];
    for await (const score of scorer.score(greySlices(study))) scores.push(score);
    return scorer.studyScore(scores);
  };
  const [low, high] = [await percentile(healthy), await percentile(abnormal)];
  await scorer.close();
  expect(high.percentile).toBeGreaterThan(low.percentile);
  expect(low.flagged).toBe(false);
}, 300_000);

/** Through the window of the series that the demo writes. */
function greySlices({ rows, columns, slices, pixels }: BrainStudy) {
  const grey = windowTransform({ center: 600, width: 1200 });
  const bytes = Uint8Array.from(pixels, (value) => Math.round(255 * grey(value)));
  const perSlice = rows * columns;
  return Array.from({ length: slices }, (_, i) => ({
    ...{ rows, columns },
    pixels: bytes.subarray(i * perSlice, (i + 1) * perSlice),
  }));
}
