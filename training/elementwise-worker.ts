/** Does its share of each operation; spoken to by `elementwise-threads.ts`. */
import { parentPort } from 'node:worker_threads';
import { runElementwise, type Elementwise } from './elementwise.ts';

const port = parentPort!;
port.on('message', (operation: Elementwise) => {
  port.postMessage(runElementwise(operation));
});
