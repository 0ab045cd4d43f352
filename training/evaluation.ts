import type { Bundle } from '../inference/bundle/schema.ts';
import type { NormalStudy } from '../inference/calibration.ts';
import type { PooledValues } from '../inference/pooled-values.ts';
import { prepare } from '../inference/prepare.ts';
import { normalise } from '../inference/preprocess.ts';
import type { InputSlice } from '../inference/preprocess.ts';
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

  /** Results of one micro-batch; a short one is filled up with its last slice. */
  async run(slices: readonly InputSlice[]) {
    const { model, profile } = this.#base;
    const values = 3 * model.imageSize ** 2;
    const x = new Float32Array(this.#microBatch * values);
    for (let i = 0; i < this.#microBatch; i++) {
      const slice = slices[Math.min(i, slices.length - 1)];
      const { pixels } = prepare(slice, profile.preprocessing, model.imageSize);
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
    const { x, results } = await this.run(await this.#read(firsts.slice(0, count)));
    const side = this.#base.model.imageSize;
    const { map, reconstruction } = results;
    const shown = { count, side, x, reconstruction: reconstruction.data, map: map.data };
    await drawReconstructions(path, shown, this.#base.profile.preprocessing);
    return results['loss'].data[0];
  }

  /** Score and largest map value of a study; its maps' values go into `mapValues`. */
  async study(slices: readonly CachedSlice[], mapValues: PooledValues): Promise<NormalStudy> {
    let [rawScore, mapMaximum] = [-Infinity, -Infinity];
    const pixels = this.#base.model.imageSize ** 2;
    for (let start = 0; start < slices.length; start += this.#microBatch) {
      const part = await this.#read(slices.slice(start, start + this.#microBatch));
      const { score, map } = (await this.run(part)).results;
      rawScore = maximum(score.data.subarray(0, part.length), rawScore);
      const maps = map.data.subarray(0, part.length * pixels);
      mapMaximum = maximum(maps, mapMaximum);
      mapValues.add(maps);
    }
    return { rawScore, mapMaximum };
  }

  /** The score of one slice. */
  async score(slice: InputSlice): Promise<number> {
    const { results } = await this.run([slice]);
    return results['score'].data[0];
  }

  #read(slices: readonly CachedSlice[]): Promise<InputSlice[]> {
    return Promise.all(slices.map((slice) => this.#cache.read(slice)));
  }
}

function maximum(values: Float32Array, atLeast: number): number {
  let largest = atLeast;
  for (let i = 0; i < values.length; i++) if (values[i] > largest) largest = values[i];
  return largest;
}
