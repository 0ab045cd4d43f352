import { exactInt8 } from './exact-int8.ts';
import type { ExecutionProvider } from './execution-provider.ts';
import type { Precision } from './precision.ts';
import { gpuDevices, probeProvider } from './provider-probe.ts';
import type { Probe } from './provider-probe.ts';

/** `inference.provider` and `inference.precision`, as the settings have them. */
export interface RuntimeSettings {
  readonly provider: 'auto' | ExecutionProvider;
  readonly precision: 'auto' | Precision;
}

/** What a scorer computes on, and why not on what would have come before it. */
export interface RuntimeChoice {
  readonly provider: ExecutionProvider;
  readonly precision: Precision;
  readonly passedOver: readonly { readonly provider: ExecutionProvider; readonly reason: string }[];
}

/** What is looked at; tests give their own. */
export interface Machine {
  readonly gpuDevices: () => readonly string[] | undefined;
  readonly probe: (provider: ExecutionProvider) => Promise<Probe>;
  readonly exactInt8: () => boolean;
}

const thisMachine: Machine = { gpuDevices, probe: probeProvider, exactInt8 };

/**
 * Chooses execution provider and precision. `auto` takes the first of CUDA, WebGPU and CPU that works; an adapter
 * that computes on the CPU is slower than onnxruntime there and is passed over. A GPU computes in float16 where it
 * can, the CPU in float32; int8 is for the CPU, and only where it is asked for.
 *
 * @throws Error if what the settings name does not work here.
 */
export async function chooseRuntime(
  { provider, precision }: RuntimeSettings,
  machine: Machine = thisMachine,
): Promise<RuntimeChoice> {
  if (precision === 'int8' && !machine.exactInt8()) {
    throw new Error(
      'inference.precision is int8, for which this processor lacks VNNI: its sums would saturate',
    );
  }
  if (provider !== 'auto') {
    const probed = provider === 'cpu' ? cpu : await machine.probe(provider);
    if (!probed.usable) {
      throw new Error(`inference.provider is ${provider}, which does not work here: ${probed.reason}`);
    }
    return { provider, precision: choosePrecision(precision, provider, probed.float16), passedOver: [] };
  }
  const passedOver: { provider: ExecutionProvider; reason: string }[] = [];
  for (const candidate of ['cuda', 'webgpu'] as const) {
    if (precision === 'int8') {
      passedOver.push({ provider: candidate, reason: 'it does not compute in int8' });
      continue;
    }
    const probed = await automatic(candidate, machine);
    if (probed.usable) {
      return {
        provider: candidate,
        precision: choosePrecision(precision, candidate, probed.float16),
        passedOver,
      };
    }
    passedOver.push({ provider: candidate, reason: probed.reason });
  }
  return { provider: 'cpu', precision: choosePrecision(precision, 'cpu', cpu.float16), passedOver };
}

/** Not looked at: the node itself needs it. Its float16 is float32 between casts. */
const cpu: Probe & { usable: true } = { usable: true, float16: true, software: false };

/** A provider's probe as `auto` takes it. Where there is no GPU at all, no process is started to find that out. */
async function automatic(provider: ExecutionProvider, { gpuDevices, probe }: Machine): Promise<Probe> {
  const devices = gpuDevices();
  const fits = provider === 'cuda' ? /nvidia|dxg/ : /./;
  if (devices && !devices.some((device) => fits.test(device))) {
    return { usable: false, reason: `there is no ${provider === 'cuda' ? 'NVIDIA ' : ''}GPU` };
  }
  const probed = await probe(provider);
  if (probed.usable && probed.software) {
    return { usable: false, reason: 'its adapter is software, which is slower than the CPU provider' };
  }
  return probed;
}

function choosePrecision(
  setting: RuntimeSettings['precision'],
  provider: ExecutionProvider,
  float16: boolean,
): Precision {
  if (setting === 'auto') return provider !== 'cpu' && float16 ? 'float16' : 'float32';
  if (setting === 'float16' && !float16) {
    throw new Error(`inference.precision is float16, which the GPU cannot compute in with ${provider}`);
  }
  if (setting === 'int8' && provider !== 'cpu') {
    throw new Error(`inference.precision is int8, which is for the CPU: inference.provider is ${provider}`);
  }
  return setting;
}
