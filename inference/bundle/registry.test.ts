import { appendFile, cp, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  addBundle,
  bundleID,
  bundleIDs,
  listBundles,
  manifestID,
  openBundle,
  promote,
  promoteAfter,
  promotedBundle,
  promotionHistory,
  readBundle,
} from './registry.ts';
import type { Bundle, Manifest } from './schema.ts';
import { ensureUntrained } from './untrained.ts';
import { verifyBundle } from './verify.ts';

let sound: string;
let root: string;
let bundle: Bundle;

beforeAll(async () => {
  sound = await mkdtemp(join(tmpdir(), 'bundles-'));
  bundle = await ensureUntrained(sound);
});
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'bundles-'));
  await cp(sound, root, { recursive: true });
});
afterEach(() => rm(root, { recursive: true }));
afterAll(() => rm(sound, { recursive: true }));

const manifestPath = (id: string) => join(root, 'bundles', id, 'bundle.json');

function manifest(change: Partial<Manifest>): Manifest {
  const { id, ...rest } = bundle;
  expect(id).toMatch(/^untrained@/);
  return { ...rest, ...change };
}

describe('the untrained bundle', () => {
  test('says what it is, and is sound', async () => {
    expect(bundle.title).toBe('Scores mean nothing (UNTRAINED)');
    expect(bundle.calibration!.scores).toHaveLength(39);
    expect((await verifyBundle(root, 'untrained')).referenceScore).toBe(bundle.reference.rawScore);
  });

  test('is made once, the same by all that make it at the same time', async () => {
    const fresh = await mkdtemp(join(tmpdir(), 'bundles-'));
    const [first, second] = await Promise.all([ensureUntrained(fresh), ensureUntrained(fresh)]);
    expect([first.id, second.id, (await ensureUntrained(fresh)).id]).toEqual([
      bundle.id,
      bundle.id,
      bundle.id,
    ]);
    expect(await readdir(join(fresh, 'bundles'))).toEqual([bundle.id]);
    expect(await readdir(join(fresh, 'weights'))).toHaveLength(3);
    await rm(fresh, { recursive: true });
  });

  test('is made anew when its weights were damaged', async () => {
    const [{ sha256 }] = bundle.weights;
    await appendFile(join(root, 'weights', `${sha256}.safetensors`), 'x');
    expect((await ensureUntrained(root)).id).toBe(bundle.id);
    await expect(verifyBundle(root, bundle.id)).resolves.toBeDefined();
  });
});

describe('verify', () => {
  test('finds a flipped bit in each weight file', async () => {
    const files = await readdir(join(root, 'weights'));
    expect(files).toHaveLength(3);
    for (const file of files) {
      await flipBit(join(root, 'weights', file));
      await expect(verifyBundle(root, bundle.id)).rejects.toThrow(`weights ${file.slice(0, 64)} are damaged`);
      await flipBit(join(root, 'weights', file));
    }
    await expect(verifyBundle(root, bundle.id)).resolves.toBeDefined();
  });

  test('finds a missing weight file', async () => {
    const [{ sha256 }] = bundle.heads[0].weights;
    await rm(join(root, 'weights', `${sha256}.safetensors`));
    await expect(verifyBundle(root, bundle.id)).rejects.toThrow(`weights ${sha256} are missing`);
  });

  test('finds an edited bundle.json', async () => {
    const text = await readFile(manifestPath(bundle.id), 'utf8');
    await writeFile(manifestPath(bundle.id), text.replace('"alpha": 0.05', '"alpha": 0.06'));
    await expect(verifyBundle(root, bundle.id)).rejects.toThrow(`bundle ${bundle.id} was changed`);
    await expect(openBundle(root, bundle.id)).rejects.toThrow(`bundle ${bundle.id} was changed`);
  });

  test('finds a moved reference score', async () => {
    const rawScore = bundle.reference.rawScore + 0.001;
    const moved = await addBundle(root, manifest({ reference: { ...bundle.reference, rawScore } }));
    await expect(verifyBundle(root, moved.id)).rejects.toThrow(/its reference image scores .* instead of/);
  });
});

async function flipBit(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  const { size } = await file.stat();
  await file.read(byte, 0, 1, size - 100);
  byte[0] ^= 1;
  await file.write(byte, 0, 1, size - 100);
}

describe('references', () => {
  test('an ID, a name that one bundle has, and the promoted one of several', async () => {
    expect(await bundleID(root, bundle.id)).toBe(bundle.id);
    await rm(join(root, 'promoted'), { recursive: true });
    expect(await bundleID(root, 'untrained')).toBe(bundle.id);

    const other = await addBundle(root, manifest({ title: 'another' }));
    await expect(bundleID(root, 'untrained')).rejects.toThrow('several bundles are named untrained');
    await promote(root, other.id);
    expect(await bundleID(root, 'untrained')).toBe(other.id);
    expect(await promotedBundle(root, 'untrained')).toBe(other.id);
    expect((await listBundles(root)).map(({ bundle: { id }, promoted }) => [id, promoted])).toEqual(
      [bundle.id, other.id].sort().map((id) => [id, id === other.id]),
    );
  });

  test('of candidates that were compared with the same bundle one is promoted', async () => {
    const others = await Promise.all(
      ['another', 'a third'].map((title) => addBundle(root, manifest({ title }))),
    );
    const promoted = await Promise.all(others.map(({ id }) => promoteAfter(root, id, bundle.id)));
    expect(promoted.sort()).toEqual([false, true]);
    expect(await promotionHistory(root, 'untrained')).toHaveLength(2);
  });

  test('what is not there is named, and so is what there is', async () => {
    await expect(openBundle(root, 'brain-mri')).rejects.toThrow(
      `no bundle brain-mri; there are: ${bundle.id}`,
    );
    await expect(openBundle(root, '../untrained')).rejects.toThrow('no bundle ../untrained');
    await expect(readBundle(root, '../x')).rejects.toThrow('../x is not the ID of a bundle');
    await expect(promotedBundle(root, '../weights')).rejects.toThrow('lower-case letters');
    expect(await promotedBundle(root, 'brain-mri')).toBeUndefined();
    expect(await bundleIDs(join(root, 'absent'))).toEqual([]);
  });
});

describe('adding', () => {
  test('the ID is the hash of what was written', async () => {
    expect(manifestID('untrained', await readFile(manifestPath(bundle.id)))).toBe(bundle.id);
    expect((await addBundle(root, manifest({}))).id).toBe(bundle.id);
  });

  test('a manifest whose weights are not stored is refused, and nothing is left', async () => {
    const weights = [{ prefix: '', sha256: '0'.repeat(64), bytes: 1 }];
    await expect(addBundle(root, manifest({ weights }))).rejects.toThrow(
      `weights ${'0'.repeat(64)} are missing`,
    );
    expect(await readdir(join(root, 'bundles'))).toEqual([bundle.id]);
  });

  test('a manifest that is not valid is refused', async () => {
    await expect(addBundle(root, manifest({ name: '../x' }))).rejects.toThrow('lower-case letters');
    const reference = { ...bundle.reference, pixels: 'AAAA' };
    await expect(addBundle(root, manifest({ reference }))).rejects.toThrow('must fill the model grid');
  });
});
