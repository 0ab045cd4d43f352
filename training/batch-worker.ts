/** Reads, augments and normalises the slices of micro-batches; spoken to by `batches.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { prepare } from '../inference/prepare.ts';
import { normalise } from '../inference/preprocess.ts';
import { augment } from './augmentation.ts';
import type { PreparationOptions, PreparationReply, PreparationTask } from './batches.ts';
import { uniformStream } from './philox.ts';
import { SliceCache } from './slice-cache.ts';

const { cacheFolder, imageSize, preprocessing, seed, verticalFlip } = workerData as PreparationOptions;
const port = parentPort!;
const cache = SliceCache.open(cacheFolder);

async function prepareBatch(slices: PreparationTask['slices']): Promise<Float32Array<ArrayBuffer>> {
  const values = 3 * imageSize ** 2;
  const x = new Float32Array(slices.length * values);
  for (const [i, { slice, position }] of slices.entries()) {
    const random = uniformStream(seed, 'augmentation', position);
    const { pixels } = prepare(await (await cache).read(slice), preprocessing, imageSize);
    const augmented = augment(pixels, imageSize, random, verticalFlip);
    normalise(augmented, preprocessing, x.subarray(i * values, (i + 1) * values));
  }
  return x;
}

port.on('message', ({ id, slices }: PreparationTask) => {
  const reply = (message: PreparationReply, transfer: ArrayBuffer[] = []) => {
    port.postMessage(message, transfer);
  };
  prepareBatch(slices).then(
    (x) => {
      reply({ id, x }, [x.buffer]);
    },
    (error: unknown) => {
      reply({ id, error: (error as Error).message });
    },
  );
});
