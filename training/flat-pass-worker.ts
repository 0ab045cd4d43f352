/** Does its share of each pass; spoken to by `flat-threads.ts`. */
import { parentPort } from 'node:worker_threads';
import { runFlatPass, type FlatPass } from './flat-pass.ts';

const port = parentPort!;
port.on('message', (pass: FlatPass) => {
  port.postMessage(runFlatPass(pass));
});
