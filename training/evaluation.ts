import type { Bundle } from '../inference/bundle/schema.ts';
import { normalise, resize } from '../inference/preprocess.ts';
import type { Engine } from './engine.ts';
import { drawReconstructions } from './run-pictures.ts';
import type { CachedSlice, SliceCache } from './slice-cache.ts';

/** Held-out slices of the run's pictures and of its held-out loss. */
const PREVIEWS = 4;

/** The model as it is now, on slices without augmentation. */
export class Evaluation {
  readonly #engine: Engine;
  readonly #cache: SliceCache;
  readonly #base: Pick<Bundle, 'model' | 'profile'>;
  readonly #microBatch: number;

  constructor(
    engine: Engine,
    cache: SliceCache,
    base: Pick<Bundle, 'model' | 'profile'>,
    microBatch: number,
  ) {
    this.#engine = engine;
    this.#cache = cache;
    this.#base = base;
    this.#microBatch = microBatch;
  }

  /** A slice on the model's grid. */
  async pixels(slice: CachedSlice): Promise<Uint8Array> {
    return resize(await this.#cache.read(slice), this.#base.model.imageSize);
  }

  /** Results of one micro-batch; a short one is filled up with its last slice. */
  async run(slices: readonly CachedSlice[]) {
    const { model, profile } = this.#base;
    const values = 3 * model.imageSize ** 2;
    const x = new Float32Array(this.#microBatch * values);
    for (let i = 0; i < this.#microBatch; i++) {
      const pixels = await this.pixels(slices[Math.min(i, slices.length - 1)]);
      normalise(pixels, profile.preprocessing, x.subarray(i * values, (i + 1) * values));
    }
    const dims = [this.#microBatch, 3, model.imageSize, model.imageSize];
    const results = await this.#engine.evaluate({ x: { data: x.slice(), dims } });
    return { x, results };
  }

  /** Draws the first slices of different patients; returns their loss. */
  async preview(heldOut: readonly CachedSlice[], path: string): Promise<number> {
    const firsts = [...Map.groupBy(heldOut, ({ patient }) => patient).values()].map(
      (slices) => slices[Math.floor(slices.length / 2)],
    );
    const count = Math.min(PREVIEWS, this.#microBatch, firsts.length);
    const { x, results } = await this.run(firsts.slice(0, count));
    const side = this.#base.model.imageSize;
    const { map, reconstruction } = results;
    const shown = { count, side, x, reconstruction: reconstruction.data, map: map.data };
    await drawReconstructions(path, shown, this.#base.profile.preprocessing);
    return results['loss'].data[0];
  }

  /** Score and maps of a study. */
  async study(slices: readonly CachedSlice[]): Promise<{ rawScore: number; maps: Float32Array[] }> {
    const maps: Float32Array[] = [];
    let rawScore = -Infinity;
    const pixels = this.#base.model.imageSize ** 2;
    for (let start = 0; start < slices.length; start += this.#microBatch) {
      const part = slices.slice(start, start + this.#microBatch);
      const { score, map } = (await this.run(part)).results;
      part.forEach((_, i) => {
        rawScore = Math.max(rawScore, score.data[i]);
        maps.push(map.data.slice(i * pixels, (i + 1) * pixels));
      });
    }
    return { rawScore, maps };
  }
}
