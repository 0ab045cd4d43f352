import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar';
import { openPromise } from 'yauzl';
import { CUDA_LIBRARY } from '../../inference/provider-probe.ts';
import { describeRemote, download } from '../weights/download.ts';
import { findPackage } from './cuda-package.ts';
import type { CudaPackage, Feeds } from './cuda-package.ts';

/** What onnxruntime loads, in the order in which they are laid: once the last is there, the provider is. */
const libraries = ['libonnxruntime_providers_shared.so', CUDA_LIBRARY];

/** Unpacked, the libraries take at most this many times the size of the package. */
const UNPACKED = 2;

/**
 * Downloads the package of the CUDA provider, checks it against the SHA-512 that the feed states, and lays its
 * libraries into `folder`. A download that broke off goes on at the next call. Nothing is laid unless all is well.
 */
export async function installFromFeed(
  wanted: CudaPackage,
  feeds: Feeds,
  folder: string,
  progress: (done: number, total: number) => void,
): Promise<void> {
  const { url, sha512 } = await findPackage(wanted, feeds);
  const remote = await describeRemote(url);
  const name = createHash('sha256').update(`${url} ${sha512}`).digest('hex');
  const path = join(folder, '.downloads', name);
  await download(remote, path, UNPACKED * remote.length, (done) => {
    progress(done, remote.length);
  });
  try {
    await installFromFile({ ...wanted, sha512 }, path, folder);
  } finally {
    await rm(join(folder, '.downloads'), { recursive: true });
  }
}

/**
 * Lays the libraries of a package file into `folder`. Throws, and lays nothing, if the file is not the package: by
 * its SHA-512, where that is known, and by what it holds.
 *
 * @returns the SHA-512 of the file, in Base64.
 */
export async function installFromFile(wanted: CudaPackage, path: string, folder: string): Promise<string> {
  const hash = createHash('sha512');
  await pipeline(createReadStream(path), hash);
  const sha512 = hash.digest('base64');
  if (wanted.sha512 !== undefined && sha512 !== wanted.sha512) {
    throw new Error(
      `${path} is not ${wanted.name} ${wanted.version}: its SHA-512 is ${sha512}, not ${wanted.sha512}`,
    );
  }
  const unpacked = join(folder, `.${randomUUID()}.tmp`);
  await mkdir(unpacked);
  try {
    await (wanted.feed === 'npm' ? unpackTar : unpackZip)(path, wanted.folder, unpacked);
    const there = await readdir(unpacked);
    const missing = libraries.find((library) => !there.includes(library));
    if (missing !== undefined) throw new Error(`${path} holds no ${wanted.folder}${missing}`);
    for (const library of libraries) {
      await using file = await open(join(unpacked, library));
      await file.sync();
    }
    for (const library of libraries) await rename(join(unpacked, library), join(folder, library));
  } finally {
    await rm(unpacked, { recursive: true });
  }
  return sha512;
}

async function unpackTar(path: string, folder: string, target: string): Promise<void> {
  const wanted = libraries.map((library) => folder + library);
  await extract({
    file: path,
    cwd: target,
    strict: true,
    preserveOwner: false,
    strip: folder.split('/').length - 1,
    filter: (name) => wanted.includes(name),
  });
}

async function unpackZip(path: string, folder: string, target: string): Promise<void> {
  const zip = await openPromise(path, { autoClose: false });
  try {
    for await (const entry of zip.eachEntry()) {
      const library = libraries.find((library) => entry.fileName === folder + library);
      if (library === undefined) continue;
      await pipeline(await zip.openReadStreamPromise(entry), createWriteStream(join(target, library)));
    }
  } finally {
    zip.close();
  }
}
