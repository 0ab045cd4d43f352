import { parentPort, workerData } from 'node:worker_threads';
import { brainOf } from './brain-isolation.ts';
import type { Volume } from './brain-surface.ts';

parentPort!.postMessage(brainOf(workerData as Volume));
