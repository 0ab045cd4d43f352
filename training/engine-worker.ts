/** Runs the sessions of a training engine and keeps its state; spoken to by `engine.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { openCpuEngine } from './cpu-engine.ts';
import type { EngineCommand, EngineReply, WorkerOptions } from './engine.ts';
import { openScanEngine } from './scan-engine.ts';
import { openWebgpuEngine } from './webgpu-engine.ts';

const { kind, model, runtime } = workerData as WorkerOptions;
const port = parentPort!;

const open = { stepwise: openCpuEngine, resident: openWebgpuEngine, scan: openScanEngine }[kind];

const reply = (message: EngineReply) => {
  port.postMessage(message);
};

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

try {
  const methods = await open(model, runtime);
  // One at a time: an update must see all gradients that were asked for before it.
  let last: Promise<void> = Promise.resolve();
  port.on('message', (command: EngineCommand) => {
    last = last.then(async () => {
      if (command === 'close') {
        port.close();
        return;
      }
      const { id, method, argument } = command;
      try {
        const call = methods[method];
        if (!call) throw new Error(`this engine does not ${method}`);
        reply({ id, result: await call(argument as never) });
      } catch (error) {
        reply({ id, error: reason(error) });
      }
    });
  });
  reply({ id: 0, result: undefined });
} catch (error) {
  reply({ id: 0, error: reason(error) });
}
