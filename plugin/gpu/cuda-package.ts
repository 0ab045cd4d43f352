import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { z } from 'zod';

/** The package that holds the CUDA provider of onnxruntime-node 1.29.0, for the libraries of one version of CUDA. */
export interface CudaPackage {
  readonly feed: 'npm' | 'nuget';
  readonly name: string;
  readonly version: string;
  /** Where its libraries lie in the package. */
  readonly folder: string;
  /** In Base64, where it is known beforehand; elsewhere the feed states it. */
  readonly sha512?: string;
}

export const cudaVersions = ['12', '13'] as const;

export type CudaVersion = (typeof cudaVersions)[number];

export const cudaPackages: Readonly<Record<CudaVersion, CudaPackage>> = {
  // Where the install script of onnxruntime-node takes it from.
  12: {
    feed: 'nuget',
    name: 'Microsoft.ML.OnnxRuntime.Gpu.Linux',
    version: '1.29.0',
    folder: 'runtimes/linux-x64/native/',
  },
  // onnxruntime's own build of 1.29.0, as packed for Unity.
  13: {
    feed: 'npm',
    name: 'com.github.asus4.onnxruntime.linux-x64-gpu',
    version: '0.4.9',
    folder: 'package/Plugins/Linux/x64/',
    sha512: 'FopIhNE/Ng+v2X65wVc9clPCBCvhvA53Hxo2U0Kf5fGdVsC7iCA+mZ0KLWggcQAj7TIZ6pNidR4AC10g74Xo6w==',
  },
};

/** Addresses of the package feeds. */
export interface Feeds {
  readonly npm: string;
  /** The service index of the NuGet V3 API. */
  readonly nuget: string;
}

/** The npm registry that is configured on this machine, and nuget.org. */
export async function configuredFeeds(): Promise<Feeds> {
  const { stdout } = await promisify(execFile)('npm', ['config', 'get', 'registry']);
  return { npm: stdout.trim(), nuget: 'https://api.nuget.org/v3/index.json' };
}

/** Where a feed has a package, and the SHA-512 (Base64) that its file must have. Throws if it does not have it. */
export async function findPackage(
  wanted: CudaPackage,
  feeds: Feeds,
): Promise<{ url: string; sha512: string }> {
  const found = wanted.feed === 'npm' ? await onNpm(wanted, feeds.npm) : await onNuGet(wanted, feeds.nuget);
  if (wanted.sha512 !== undefined && found.sha512 !== wanted.sha512) {
    throw new Error(
      `${found.url}: the feed states SHA-512 ${found.sha512}, but ${wanted.name} ${wanted.version} has ${wanted.sha512}`,
    );
  }
  return found;
}

const npmVersion = z.object({ dist: z.object({ tarball: z.url(), integrity: z.string() }) });

async function onNpm({ name, version }: CudaPackage, registry: string) {
  const { dist } = await getJson(`${registry.replace(/\/+$/, '')}/${name}/${version}`, npmVersion);
  const sha512 = /(?:^|\s)sha512-(\S+)/.exec(dist.integrity)?.[1];
  if (sha512 === undefined) throw new Error(`${dist.tarball}: the registry states no SHA-512`);
  return { url: dist.tarball, sha512 };
}

const serviceIndex = z.object({ resources: z.array(z.object({ '@id': z.url(), '@type': z.string() })) });
const registration = z.object({ packageContent: z.url(), catalogEntry: z.url() });
const catalogEntry = z.object({ packageHash: z.string(), packageHashAlgorithm: z.literal('SHA512') });

/** By the NuGet V3 API: service index → registration leaf → catalog entry, which states the hash. */
async function onNuGet({ name, version }: CudaPackage, index: string) {
  const { resources } = await getJson(index, serviceIndex);
  const type = 'RegistrationsBaseUrl/3.6.0';
  const registrations = resources.find((resource) => resource['@type'] === type);
  if (!registrations) throw new Error(`${index}: it has no ${type}`);
  const base = registrations['@id'].replace(/\/?$/, '/');
  const leaf = await getJson(`${base}${name.toLowerCase()}/${version}.json`, registration);
  const { packageHash } = await getJson(leaf.catalogEntry, catalogEntry);
  return { url: leaf.packageContent, sha512: packageHash };
}

async function getJson<T>(url: string, schema: z.ZodType<T>): Promise<T> {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Error(`${new URL(url).host} cannot be reached; on a machine without network give --from FILE`, {
      cause: error,
    });
  }
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status}`);
  const parsed = schema.safeParse(await response.json().catch(() => undefined));
  if (!parsed.success) throw new Error(`${url}: an unexpected answer: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
