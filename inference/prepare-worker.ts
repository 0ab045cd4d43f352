import type { Manifest } from './bundle/schema.ts';
import { prepare } from './prepare.ts';
import { normalise } from './preprocess.ts';
import type { Affine, InputSlice } from './preprocess.ts';

/** A slice, and how a profile wants it. */
export interface Preparation {
  readonly slice: InputSlice;
  readonly preprocessing: Manifest['profile']['preprocessing'];
  /** Side of the model's grid. */
  readonly size: number;
}

/** A slice ready for the model. */
export interface Prepared {
  /** (3, S, S) */
  readonly input: Float32Array;
  readonly gridToSlice: Affine;
}

/** Runs in a thread of the scorer, so that the one that serves goes on. Throws as `prepare` does. */
export default function ({ slice, preprocessing, size }: Preparation): Prepared {
  const { pixels, gridToSlice } = prepare(slice, preprocessing, size);
  const input = new Float32Array(3 * size * size);
  normalise(pixels, preprocessing, input);
  return { input, gridToSlice };
}
