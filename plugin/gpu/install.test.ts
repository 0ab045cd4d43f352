import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from 'tar';
import { describeWith } from '../../fixtures/required-program.ts';
import { until } from '../../fixtures/until.ts';
import { cudaPackages } from './cuda-package.ts';
import type { CudaPackage, Feeds } from './cuda-package.ts';
import { installFromFeed, installFromFile } from './install.ts';

const names = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so'];
const content = (name: string) => Buffer.alloc(40_000, name);

let root: string;
/** Where the libraries are laid. */
let folder: string;
let server: Server;
let feeds: Feeds;
/** The packages of both feeds, and what their feeds state. */
let packages: Record<'npm' | 'nuget', Buffer>;
let stated: Partial<Record<'npm' | 'nuget', string>>;
/** Ranges of the packages that were asked for. */
let ranges: (string | undefined)[];
/** Bytes of a package that were taken so far. */
let taken: number;
/** Takes the answer to a request for a package out of the server's hands. */
let fault: ((request: IncomingMessage, response: ServerResponse, file: Buffer) => boolean) | undefined;

const sha512 = (bytes: Buffer) => createHash('sha512').update(bytes).digest('base64');
const npm = (): CudaPackage => ({ ...cudaPackages[13], sha512: sha512(packages.npm) });

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'gpu-'));
  folder = join(root, 'laid');
  await mkdir(folder);
  const inside = join(root, 'content');
  for (const { folder } of Object.values(cudaPackages)) {
    await mkdir(join(inside, folder), { recursive: true });
    for (const name of names) await writeFile(join(inside, folder, name), content(name));
    await writeFile(join(inside, folder, 'other.so'), 'not wanted');
  }
  const tgz = join(root, 'package.tgz');
  await create({ file: tgz, cwd: inside }, ['package']);
  packages = { npm: await readFile(tgz), nuget: Buffer.alloc(0) };
  [stated, ranges, fault, taken] = [{}, [], undefined, 0];

  server = createServer((request, response) => {
    const { url = '', method } = request;
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const json = (value: unknown) => void response.end(JSON.stringify(value));
    if (url === '/npm/com.github.asus4.onnxruntime.linux-x64-gpu/0.4.9') {
      const integrity = `sha512-${stated.npm ?? sha512(packages.npm)}`;
      json({ dist: { tarball: `${base}/file/npm`, integrity } });
    } else if (url === '/nuget/index.json') {
      json({ resources: [{ '@id': `${base}/nuget/registration/`, '@type': 'RegistrationsBaseUrl/3.6.0' }] });
    } else if (url === '/nuget/registration/microsoft.ml.onnxruntime.gpu.linux/1.29.0.json') {
      json({ packageContent: `${base}/file/nuget`, catalogEntry: `${base}/nuget/catalog.json` });
    } else if (url === '/nuget/catalog.json') {
      json({ packageHash: stated.nuget ?? sha512(packages.nuget), packageHashAlgorithm: 'SHA512' });
    } else if (url.startsWith('/file/')) {
      const file = packages[url.slice('/file/'.length) as 'npm' | 'nuget'];
      if (method === 'HEAD') {
        response.writeHead(200, { 'content-length': file.length }).end(); // as npm's mirrors: without an ETag
        return;
      }
      ranges.push(request.headers.range);
      if (!fault?.(request, response, file)) send(request, response, file);
    } else {
      response.writeHead(404).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  feeds = { npm: `http://127.0.0.1:${port}/npm/`, nuget: `http://127.0.0.1:${port}/nuget/index.json` };
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  await rm(root, { recursive: true });
});

/** The file from the byte that `Range` names; the connection breaks when `bytes` have been taken. */
function send(request: IncomingMessage, response: ServerResponse, file: Buffer, bytes = Infinity): boolean {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const range = from > 0 && { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` };
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': file.length - from, ...range });
  if (from + bytes >= file.length) response.end(file.subarray(from));
  else {
    response.write(file.subarray(from, from + bytes));
    void until('the bytes that were sent', () => taken === from + bytes).then(() => response.destroy());
  }
  return true;
}

const install = (wanted: CudaPackage) => installFromFeed(wanted, feeds, folder, (bytes) => (taken = bytes));

async function expectInstalled() {
  expect((await readdir(folder)).sort()).toEqual(names.toSorted());
  for (const name of names) expect((await readFile(join(folder, name))).equals(content(name))).toBe(true);
}

test('lays the libraries of the npm package, over older ones, and nothing else', async () => {
  await writeFile(join(folder, names[1]), 'older');
  await install(npm());
  await expectInstalled();
});

test('goes on where the connection broke', async () => {
  fault = (request, response, file) => ranges.length === 1 && send(request, response, file, 100);
  await install(npm());
  expect(ranges).toEqual([undefined, 'bytes=100-']);
  await expectInstalled();
});

test('lays nothing of a package with another hash than the feed or this program states', async () => {
  const wanted = npm();
  const damaged = Buffer.from(packages.npm);
  damaged[200] ^= 1;
  stated.npm = sha512(packages.npm);
  packages.npm = damaged;
  await expect(install(wanted)).rejects.toThrow(`its SHA-512 is ${sha512(damaged)}`);
  expect(await readdir(folder)).toEqual([]);
  stated.npm = sha512(damaged);
  await expect(install(wanted)).rejects.toThrow(`the feed states SHA-512 ${sha512(damaged)}`);
  expect(await readdir(folder)).toEqual([]);
});

test('lays nothing of a package that lacks a library', async () => {
  const inside = join(root, 'content');
  await rm(join(inside, cudaPackages[13].folder, names[1]));
  await create({ file: join(root, 'package.tgz'), cwd: inside }, ['package']);
  packages.npm = await readFile(join(root, 'package.tgz'));
  await expect(install(npm())).rejects.toThrow(`holds no ${cudaPackages[13].folder}${names[1]}`);
  expect(await readdir(folder)).toEqual([]);
});

test('a feed that does not have the package is named', async () => {
  await expect(install({ ...npm(), version: '0.5.0' })).rejects.toThrow('/0.5.0: the server answered 404');
});

test('takes the package from a file', async () => {
  await installFromFile(npm(), join(root, 'package.tgz'), folder);
  await expectInstalled();
  await expect(
    installFromFile({ ...npm(), sha512: sha512(Buffer.from('other')) }, join(root, 'package.tgz'), folder),
  ).rejects.toThrow('is not com.github.asus4.onnxruntime.linux-x64-gpu 0.4.9');
});

describeWith(['python3'], 'the NuGet package', () => {
  beforeEach(async () => {
    const archive = join(root, 'package');
    const runtimes = join(root, 'nuget');
    cpSync(join(root, 'content', 'runtimes'), join(runtimes, 'runtimes'), { recursive: true });
    execFileSync('python3', ['-c', `import shutil; shutil.make_archive('${archive}', 'zip', '${runtimes}')`]);
    packages.nuget = await readFile(`${archive}.zip`);
  });

  test('is found by registration and catalog, checked against their hash, and laid', async () => {
    await install(cudaPackages[12]);
    await expectInstalled();
  });

  test('with another hash than the catalog states is refused', async () => {
    stated.nuget = sha512(Buffer.from('other'));
    await expect(install(cudaPackages[12])).rejects.toThrow(`its SHA-512 is ${sha512(packages.nuget)}`);
    expect(await readdir(folder)).toEqual([]);
  });
});
