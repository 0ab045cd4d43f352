import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from 'tar';
import { exportBundle, importBundle } from './bundle-archive.ts';
import { addBundle } from './registry.ts';
import type { Bundle } from './schema.ts';
import { ensureUntrained } from './untrained.ts';
import { verifyBundle } from './verify.ts';

let source: string;
let root: string;
let bundle: Bundle;
let manifest: string;
let weights: string[];

beforeAll(async () => {
  source = await mkdtemp(join(tmpdir(), 'export-'));
  bundle = await ensureUntrained(source);
  manifest = `bundles/${bundle.id}/bundle.json`;
  weights = (await readdir(join(source, 'weights'))).map((file) => `weights/${file}`);
});
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'import-'));
});
afterEach(() => rm(root, { recursive: true }));
afterAll(() => rm(source, { recursive: true }));

const target = () => join(root, 'registry');
const archive = () => join(root, 'bundle.tar');

/** Packs files of a copy of the source, after a change to it. */
async function pack(names: string[], change: (copy: string) => Promise<void> = () => Promise.resolve()) {
  const copy = join(root, 'copy');
  await cp(source, copy, { recursive: true });
  await change(copy);
  await create({ cwd: copy, file: archive(), preservePaths: true, noDirRecurse: true }, names);
}

async function sameBytes(a: string, b: string): Promise<boolean> {
  return (await readFile(a)).equals(await readFile(b));
}

async function expectRefused(reason: string, options: { maxBytes?: number } = {}): Promise<void> {
  await expect(importBundle(target(), archive(), options)).rejects.toThrow(reason);
  expect(await readdir(join(target(), 'weights'))).toEqual([]);
  expect(await readdir(target())).toEqual(['weights']);
}

test('what is exported here is imported there, with its ID and its score', async () => {
  await exportBundle(source, 'untrained', archive());
  expect((await importBundle(target(), archive())).id).toBe(bundle.id);
  await verifyBundle(target(), bundle.id);
  expect(await sameBytes(join(target(), manifest), join(source, manifest))).toBe(true);

  await importBundle(target(), archive()); // once more changes nothing
  expect((await readdir(join(target(), 'weights'))).sort()).toEqual(
    weights.map((name) => name.slice(8)).sort(),
  );
  await exportBundle(target(), bundle.id, join(root, 'again.tar'));
  expect(await sameBytes(join(root, 'again.tar'), archive())).toBe(true);
});

test('a bundle whose weights are damaged is not exported', async () => {
  await cp(source, target(), { recursive: true });
  await writeFile(join(target(), weights[0]), 'damaged');
  await expect(exportBundle(target(), bundle.id, archive())).rejects.toThrow('are damaged');
  expect(await readdir(root)).toEqual(['registry']);
});

describe('refused, and nothing is left behind:', () => {
  test('a path that leads outside', async () => {
    await pack([manifest, '../outside.safetensors'], () => writeFile(join(root, 'outside.safetensors'), 'x'));
    await expectRefused('../outside.safetensors has no place in a bundle');
  });

  test('an absolute path', async () => {
    const outside = join(root, 'outside');
    await pack([manifest, outside], () => writeFile(outside, 'x'));
    await expectRefused(`${outside} has no place in a bundle`);
  });

  test('a symbolic link in the place of weights', async () => {
    await pack([manifest, ...weights], async (copy) => {
      await rm(join(copy, weights[1]));
      await symlink('/etc/hostname', join(copy, weights[1]));
    });
    await expectRefused(`${weights[1]}, which is a SymbolicLink`);
  });

  test('a link in the place of bundle.json', async () => {
    await pack([manifest], async (copy) => {
      await rm(join(copy, manifest));
      await symlink('/etc/hostname', join(copy, manifest));
    });
    await expectRefused('which is a SymbolicLink');
  });

  test('a folder', async () => {
    await pack([manifest, 'weights']);
    await expectRefused('weights/, which is a Directory');
  });

  test('an edited bundle.json', async () => {
    await pack([manifest, ...weights], async (copy) => {
      const text = await readFile(join(copy, manifest), 'utf8');
      await writeFile(join(copy, manifest), text.replace('"alpha": 0.05', '"alpha": 0.06'));
    });
    await expectRefused(`bundle ${bundle.id} was changed`);
  });

  test('weights of the right size and another content', async () => {
    await pack([manifest, ...weights], async (copy) => {
      const bytes = await readFile(join(copy, weights[2]));
      bytes[bytes.length - 5] ^= 1;
      await writeFile(join(copy, weights[2]), bytes);
    });
    await expectRefused('are damaged: their SHA-256 is');
  });

  test('weights that are longer than bundle.json says', async () => {
    await pack([manifest, ...weights], (copy) => writeFile(join(copy, weights[0]), Buffer.alloc(5_000_000)));
    await expectRefused('have 5000000 bytes instead of');
  });

  test('more weights than are allowed', async () => {
    await pack([manifest, ...weights]);
    await expectRefused('1000 are allowed', { maxBytes: 1000 });
  });

  test('weights that the bundle does not name', async () => {
    const stray = `weights/${'0'.repeat(64)}.safetensors`;
    await pack([manifest, stray], (copy) => writeFile(join(copy, stray), 'x'));
    await expectRefused('does not name weights 000');
  });

  test('missing weights, twice the same, and weights before bundle.json', async () => {
    await pack([manifest, weights[0]]);
    await expectRefused('it lacks weights');
    await pack([manifest, weights[0], weights[0]]);
    await expectRefused('twice');
    await pack([weights[0], manifest]);
    await expectRefused('has no place in a bundle, or not there');
  });

  test('a file that ends early, and one that is no archive', async () => {
    await pack([manifest, ...weights]);
    await truncate(archive(), 200_000);
    await expectRefused('is not imported');
    await writeFile(archive(), Buffer.alloc(2048, 'garbage'));
    await expectRefused('is not imported');
    await writeFile(archive(), '');
    await expectRefused('is not imported');
  });
});

test('weights that another bundle shares are in the file of each', async () => {
  await cp(source, target(), { recursive: true });
  const { id, ...content } = bundle;
  const twin = await addBundle(target(), { ...content, title: `twin of ${id}` });
  await exportBundle(target(), twin.id, archive());
  const elsewhere = join(root, 'elsewhere');
  await mkdir(elsewhere);
  expect((await importBundle(elsewhere, archive())).title).toBe(`twin of ${id}`);
  await verifyBundle(elsewhere, twin.id);
});
