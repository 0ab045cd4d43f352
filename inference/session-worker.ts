/** Runs one onnxruntime session: `run()` blocks its thread, so it has one of its own. Spoken to by `session.ts`. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { parentPort, workerData } from 'node:worker_threads';
import { runtimeOptions } from './execution-provider.ts';
import type { Command, Reply, SessionOptions } from './session.ts';

const { graph, ...options } = workerData as SessionOptions;
const port = parentPort!;

const reply = (message: Reply) => {
  port.postMessage(message);
};

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

try {
  const session = await InferenceSession.create(graph, runtimeOptions(options));
  port.on('message', (command: Command) => {
    if (command === 'close') {
      port.close();
      return;
    }
    const { id, feeds } = command;
    const tensors = Object.entries(feeds).map(([name, { data, dims }]) => [
      name,
      new Tensor('float32', data, dims),
    ]);
    session.run(Object.fromEntries(tensors) as Record<string, Tensor>).then(
      (results) => {
        const outputs = Object.entries(results).map(([name, { data, dims }]) => [name, { data, dims }]);
        reply({
          id,
          outputs: Object.fromEntries(outputs) as Extract<Reply, { outputs: unknown }>['outputs'],
        });
      },
      (error: unknown) => {
        reply({ id, error: reason(error) });
      },
    );
  });
  reply({ id: 0 });
} catch (error) {
  reply({ id: 0, error: reason(error) });
}
