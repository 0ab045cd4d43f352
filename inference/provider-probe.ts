import { fork } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { ExecutionProvider } from './execution-provider.ts';

/** What came of computing on an execution provider. `software`: it works, but on the CPU. */
export type Probe =
  | { readonly usable: true; readonly float16: boolean; readonly software: boolean }
  | { readonly usable: false; readonly reason: string };

/** How long a provider may take for its first matrix product; a GPU compiles its programs first. */
const LIMIT_SECONDS = 120;

/** The folder of onnxruntime's library, where it looks for the CUDA provider. */
export const providerFolder = join(
  dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json')),
  'bin/napi-v6',
  process.platform,
  process.arch,
);

export const CUDA_LIBRARY = 'libonnxruntime_providers_cuda.so';

/** Computes a small product on a provider, in a process of its own: a driver that crashes ends only that. */
export async function probeProvider(provider: ExecutionProvider): Promise<Probe> {
  if (provider === 'cuda' && !existsSync(join(providerFolder, CUDA_LIBRARY))) {
    return { usable: false, reason: 'its provider is not installed: run qfae gpu install' };
  }
  const child = fork(fileURLToPath(new URL('./provider-probe-process.ts', import.meta.url)), [provider], {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    timeout: 1000 * LIMIT_SECONDS,
    killSignal: 'SIGKILL',
  });
  let answer: Probe | undefined;
  child.on('message', (message) => (answer = message as Probe));
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      resolve(signal ?? `exit code ${code}`);
    });
  });
  const [end, log] = await Promise.all([ended, text(child.stderr!)]);
  if (!answer) {
    const slow = end === 'SIGKILL' ? ` (it has ${LIMIT_SECONDS} s)` : '';
    return { usable: false, reason: `it ended its process with ${end}${slow}` };
  }
  return answer.usable ? answer : { usable: false, reason: explainFailure(answer.reason, log) };
}

/** Says in a line why a provider failed, from onnxruntime's error and what it and Dawn wrote to the log. */
export function explainFailure(error: string, log: string): string {
  const [, missing] = /with error: (.+)/.exec(log) ?? [];
  if (missing !== undefined) {
    const [, version] = /^lib(?:cublas|cublasLt|cudart)\.so\.(\d+)/.exec(missing) ?? [];
    return version === undefined
      ? missing
      : `${missing}; install the libraries of CUDA ${version}, or name their folder in LD_LIBRARY_PATH`;
  }
  if (log.includes("Couldn't load Vulkan")) return 'libvulkan.so.1 is not installed (Debian: libvulkan1)';
  if (error.includes('No supported adapters')) return 'Vulkan knows no GPU here';
  return error.split('\n')[0];
}

/** Whether a path is the device node of a GPU (Linux: Mesa's drivers, NVIDIA's, WSL's). */
export function isGpuDevice(path: string): boolean {
  return /^\/dev\/(dri\/renderD\d+|nvidia\d+|dxg)$/.test(path);
}

/** The device nodes of GPUs on this machine; undefined where GPUs have none (other systems than Linux). */
export function gpuDevices(): string[] | undefined {
  if (process.platform !== 'linux') return undefined;
  return ['/dev', '/dev/dri']
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter(isGpuDevice);
}
