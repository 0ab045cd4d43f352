/** The child process of `provider-probe.ts`: computes on one execution provider and tells how it went. */
import { readdirSync, readlinkSync } from 'node:fs';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { runtimeOptions } from './execution-provider.ts';
import type { ExecutionProvider } from './execution-provider.ts';
import { Graph } from './onnx/graph.ts';
import type { ElementType } from './onnx/tensor.ts';
import { isGpuDevice } from './provider-probe.ts';
import type { Probe } from './provider-probe.ts';

const provider = process.argv[2] as ExecutionProvider;

/** Squares [[1, 2], [3, 4]] in a type. */
async function compute(type: ElementType): Promise<void> {
  const graph = new Graph();
  const x = graph.input('x', [2, 2]);
  const typed = graph.cast(x, type);
  graph.output('y', graph.cast(graph.matMul(typed, typed), 'float32'));
  const session = await InferenceSession.create(graph.toBytes(), {
    ...runtimeOptions({ provider }),
    logSeverityLevel: 2, // the reasons of a failure stand in the log only
  });
  const { y } = await session.run({ x: new Tensor('float32', Float32Array.of(1, 2, 3, 4), [2, 2]) });
  const product = [...(y.data as Float32Array)].join(', ');
  if (product !== '7, 10, 15, 22') throw new Error(`a matrix product came out as ${product}`);
}

/** Whether this process holds the device node of a GPU open, as every driver of one does (Linux). */
function holdsGpu(): boolean {
  return readdirSync('/proc/self/fd').some((descriptor) => {
    try {
      return isGpuDevice(readlinkSync(`/proc/self/fd/${descriptor}`));
    } catch {
      return false; // the folder's own descriptor is closed by now
    }
  });
}

const attempt = async (type: ElementType) => {
  try {
    await compute(type);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
};

const failure = await attempt('float32');
process.send!(
  (failure === undefined
    ? {
        usable: true,
        float16: (await attempt('float16')) === undefined,
        software: provider !== 'cpu' && process.platform === 'linux' && !holdsGpu(),
      }
    : { usable: false, reason: failure }) satisfies Probe,
);
process.disconnect();
