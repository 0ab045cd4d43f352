/** Runs one onnxruntime session: `run()` blocks its thread, so it has one of its own. Spoken to by `session.ts`. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { parentPort, workerData } from 'node:worker_threads';
import type { Command, Reply, SessionOptions } from './session.ts';

const { graph, weightsFolder, threads, prepack = false } = workerData as SessionOptions;
const port = parentPort!;

const reply = (message: Reply) => {
  port.postMessage(message);
};

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

try {
  const session = await InferenceSession.create(graph, {
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    // A third of the memory less, at no cost in time.
    enableMemPattern: false,
    extra: {
      session: {
        // Unpacked weights are used where they lie in the file: pages are shared between sessions.
        disable_prepacking: prepack ? '0' : '1',
        // Threads that wait leave the processor to the rest of the node.
        'intra_op.allow_spinning': '0',
        ...(weightsFolder === undefined
          ? {}
          : { model_external_initializers_file_folder_path: weightsFolder }),
      },
    },
  });
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
