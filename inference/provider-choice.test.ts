import { chooseRuntime } from './provider-choice.ts';
import type { RuntimeSettings } from './provider-choice.ts';
import { explainFailure } from './provider-probe.ts';
import type { Probe } from './provider-probe.ts';

const works: Probe = { usable: true, float16: true, software: false };
const fails: Probe = { usable: false, reason: 'no driver' };
const auto: RuntimeSettings = { provider: 'auto', precision: 'auto' };

function choose(
  settings: RuntimeSettings,
  devices: string[] | undefined,
  cuda: Probe,
  webgpu: Probe,
  exactInt8 = true,
) {
  const probes: Partial<Record<string, Probe>> = { cuda, webgpu };
  return chooseRuntime(settings, {
    gpuDevices: () => devices,
    probe: (provider) => Promise.resolve(probes[provider]!),
    exactInt8: () => exactInt8,
  });
}

const nvidia = ['/dev/nvidia0', '/dev/dri/renderD128'];

test('auto takes CUDA, then WebGPU, then the CPU, and says why not the ones before', async () => {
  expect(await choose(auto, nvidia, works, works)).toEqual({
    provider: 'cuda',
    precision: 'float16',
    passedOver: [],
  });
  expect(await choose(auto, nvidia, fails, works)).toEqual({
    provider: 'webgpu',
    precision: 'float16',
    passedOver: [{ provider: 'cuda', reason: 'no driver' }],
  });
  expect(await choose(auto, nvidia, fails, fails)).toMatchObject({ provider: 'cpu', precision: 'float32' });
});

test('auto does not look for what the machine has no device for, nor takes a software adapter', async () => {
  const software: Probe = { usable: true, float16: false, software: true };
  expect(await choose(auto, [], works, works)).toEqual({
    provider: 'cpu',
    precision: 'float32',
    passedOver: [
      { provider: 'cuda', reason: 'there is no NVIDIA GPU' },
      { provider: 'webgpu', reason: 'there is no GPU' },
    ],
  });
  expect(await choose(auto, ['/dev/dri/renderD128'], works, software)).toMatchObject({
    provider: 'cpu',
    passedOver: [{ reason: 'there is no NVIDIA GPU' }, { reason: expect.stringContaining('software') }],
  });
  // Where GPUs have no device nodes, only trying tells.
  expect(await choose(auto, undefined, fails, works)).toMatchObject({ provider: 'webgpu' });
});

test('what is asked for by name is used, or refused', async () => {
  const software: Probe = { usable: true, float16: false, software: true };
  expect(await choose({ ...auto, provider: 'webgpu' }, [], works, software)).toMatchObject({
    provider: 'webgpu',
    precision: 'float32',
  });
  await expect(choose({ ...auto, provider: 'cuda' }, nvidia, fails, works)).rejects.toThrow(
    'inference.provider is cuda, which does not work here: no driver',
  );
  await expect(choose({ provider: 'webgpu', precision: 'float16' }, nvidia, works, software)).rejects.toThrow(
    'inference.precision is float16, which the GPU cannot compute in with webgpu',
  );
});

test('int8 is computed by the CPU, and refused with another provider and where its sums saturate', async () => {
  expect(await choose({ provider: 'auto', precision: 'int8' }, nvidia, works, works)).toMatchObject({
    provider: 'cpu',
    precision: 'int8',
    passedOver: [{ provider: 'cuda', reason: 'it does not compute in int8' }, { provider: 'webgpu' }],
  });
  await expect(choose({ provider: 'cuda', precision: 'int8' }, nvidia, works, works)).rejects.toThrow(
    'inference.precision is int8, which is for the CPU: inference.provider is cuda',
  );
  await expect(choose({ provider: 'cpu', precision: 'int8' }, [], fails, fails, false)).rejects.toThrow(
    'this processor lacks VNNI',
  );
});

test('a failure is explained by what the log says', () => {
  const log =
    '[E:onnxruntime, provider_bridge_ort.cc:2251 TryGetProviderInfo_CUDA] Failed to load library ' +
    'libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: No such file';
  expect(
    explainFailure('OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library', log),
  ).toBe(
    'libcublasLt.so.13: cannot open shared object file: No such file; ' +
      'install the libraries of CUDA 13, or name their folder in LD_LIBRARY_PATH',
  );
  expect(explainFailure('Failed to get a WebGPU adapter: No supported adapters\n', '')).toBe(
    'Vulkan knows no GPU here',
  );
  expect(explainFailure('CUDA failure 100: no CUDA-capable device is detected\nat', '')).toBe(
    'CUDA failure 100: no CUDA-capable device is detected',
  );
});
