import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  addBundle,
  addWeights,
  bundleID,
  bundleIDs,
  promote,
  promotedBundle,
  promotionHistory,
  rollback,
} from './registry.ts';
import { storeWeights } from '../weights/store.ts';
import { removeBundle } from './remove.ts';
import type { Bundle } from './schema.ts';
import { ensureUntrained } from './untrained.ts';
import { verifyBundle } from './verify.ts';

const PROFILE = 'untrained';

let sound: string;
let root: string;
let first: Bundle;
let second: Bundle;
let third: Bundle;

beforeAll(async () => {
  sound = await mkdtemp(join(tmpdir(), 'promotion-'));
  first = await ensureUntrained(sound);
});
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'promotion-'));
  await cp(sound, root, { recursive: true });
  const { id, ...manifest } = first;
  second = await addBundle(root, { ...manifest, title: `follows ${id}` });
  third = await addBundle(root, { ...manifest, title: `follows ${second.id}` });
});
afterEach(() => rm(root, { recursive: true }));
afterAll(() => rm(sound, { recursive: true }));

test('a bare name means the promoted bundle; a rollback goes back step by step', async () => {
  await promote(root, second.id);
  await promote(root, third.id);
  await promote(root, third.id); // changes nothing
  expect(await promotionHistory(root, PROFILE)).toEqual([first.id, second.id, third.id]);
  expect(await bundleID(root, 'untrained')).toBe(third.id);
  expect((await rollback(root, PROFILE)).id).toBe(second.id);
  expect(await bundleID(root, 'untrained')).toBe(second.id);
  expect((await rollback(root, PROFILE)).id).toBe(first.id);
  await expect(rollback(root, PROFILE)).rejects.toThrow('no bundle was promoted for untrained before');
  expect(await promotedBundle(root, PROFILE)).toBe(first.id);
  await expect(rollback(root, 'brain-mri')).rejects.toThrow('no bundle was promoted for brain-mri');
  await expect(rollback(root, '../weights')).rejects.toThrow('lower-case letters');
});

test('a bundle that is not there is not promoted', async () => {
  await expect(promote(root, 'untrained@000000000000')).rejects.toThrow('no bundle untrained@000000000000');
  expect(await promotedBundle(root, PROFILE)).toBe(first.id);
});

test('whoever reads while bundles are promoted finds one of them, never none', async () => {
  let promoting = true;
  const found = new Set<string>();
  const reading = (async () => {
    while (promoting) found.add(await bundleID(root, 'untrained'));
  })();
  for (let i = 0; i < 40; i++) await promote(root, [second, third][i % 2].id);
  promoting = false;
  await reading;
  expect([first.id, second.id, third.id]).toEqual(expect.arrayContaining([...found]));
  expect(await readdir(join(root, 'promoted'))).toEqual([PROFILE]);
});

describe('removing', () => {
  test('refuses the promoted bundle, and leaves weights that others share', async () => {
    await expect(removeBundle(root, first.id)).rejects.toThrow('scores for untrained: promote another one');
    await promote(root, second.id);
    await removeBundle(root, first.id);
    expect(await bundleIDs(root)).toEqual([second.id, third.id].sort());
    await verifyBundle(root, second.id);
    await expect(removeBundle(root, first.id)).rejects.toThrow();
  });

  test('takes the weights that no other bundle names', async () => {
    const tensor = { shape: [2], values: Float32Array.of(1, 2) };
    const own = await addWeights(root, 'unused.', new Map([['x', tensor]]));
    const { id, ...manifest } = first;
    const last = await addBundle(root, { ...manifest, weights: [...manifest.weights, own] });
    expect(await readdir(join(root, 'weights'))).toHaveLength(4);
    await removeBundle(root, last.id);
    expect(await readdir(join(root, 'weights'))).toHaveLength(3);
    await verifyBundle(root, id);
  });

  test('leaves weights that were imported on their own', async () => {
    const values = Float32Array.of(3, 4);
    const read = () => Promise.resolve(values);
    const state = new Map([['x', { shape: [2], dtype: 'F32' as const, read }]]);
    const { sha256, bytes } = await storeWeights(root, state, {
      content: 'encoder',
      names: 'timm',
      prefix: '',
      source: 'a test',
      licence: 'none',
      sourceSha256: '0'.repeat(64),
    });
    const { id, ...manifest } = first;
    const weights = [...manifest.weights, { prefix: 'imported.', sha256, bytes }];
    const last = await addBundle(root, { ...manifest, weights });
    await removeBundle(root, last.id);
    expect(await readdir(join(root, 'weights'))).toContain(`${sha256}.safetensors`);
  });

  test('a rollback passes over bundles that were removed', async () => {
    await promote(root, second.id);
    await promote(root, third.id);
    await removeBundle(root, second.id);
    expect((await rollback(root, PROFILE)).id).toBe(first.id);
  });
});
