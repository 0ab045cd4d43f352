import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar';
import { findPackage, type CudaPackage, type Feeds } from '../gpu/cuda-package.ts';
import { describeRemote, download } from '../weights/download.ts';

/** OHIF as its makers publish it, built. */
export const viewerPackage = {
  feed: 'npm',
  name: '@ohif/app',
  version: '3.13.2',
  folder: 'package/dist/',
  sha512: 'WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==',
} as const satisfies CudaPackage;

/** Unpacked, the viewer takes at most this many times the size of its package. */
const UNPACKED = 5;

/** Where the viewer lies in the data folder. */
export function viewerFolder(dataFolder: string): string {
  return join(dataFolder, 'viewer', viewerPackage.version);
}

/** Whether the viewer is installed. */
export function hasViewer(dataFolder: string): boolean {
  return existsSync(join(viewerFolder(dataFolder), 'index.html'));
}

/** Downloads the package, checks it against its SHA-512, and unpacks it. A download that broke off goes on. */
export async function installViewerFromFeed(
  feeds: Feeds,
  dataFolder: string,
  progress: (done: number, total: number) => void,
): Promise<void> {
  const { url } = await findPackage(viewerPackage, feeds);
  const remote = await describeRemote(url);
  const path = join(dataFolder, 'viewer', `${viewerPackage.version}.tgz`);
  await mkdir(join(dataFolder, 'viewer'), { recursive: true });
  await download(remote, path, UNPACKED * remote.length, (done) => {
    progress(done, remote.length);
  });
  try {
    await installViewerFromFile(path, dataFolder);
  } finally {
    await rm(path, { force: true });
  }
}

/** Unpacks the package file. Throws, and leaves nothing, if it is not the package by its SHA-512. */
export async function installViewerFromFile(path: string, dataFolder: string): Promise<void> {
  const hash = createHash('sha512');
  await pipeline(createReadStream(path), hash);
  const sha512 = hash.digest('base64');
  const { name, version, folder } = viewerPackage;
  if (sha512 !== viewerPackage.sha512) {
    throw new Error(
      `${path} is not ${name} ${version}: its SHA-512 is ${sha512}, not ${viewerPackage.sha512}`,
    );
  }
  const unpacked = join(dataFolder, 'viewer', `.${randomUUID()}.tmp`);
  await mkdir(unpacked, { recursive: true });
  try {
    await extract({
      file: path,
      cwd: unpacked,
      strict: true,
      preserveOwner: false,
      strip: 2,
      filter: (entry) => entry.startsWith(folder),
    });
    const target = viewerFolder(dataFolder);
    await rm(target, { recursive: true, force: true });
    await rename(unpacked, target);
  } finally {
    await rm(unpacked, { recursive: true, force: true });
  }
}
