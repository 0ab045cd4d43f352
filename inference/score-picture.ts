import type { Manifest } from './bundle/schema.ts';
import { prepare } from './prepare.ts';
import { normalise } from './preprocess.ts';
import type { InputSlice } from './preprocess.ts';
import type { Session } from './session.ts';

/** The score and the map (S, S) of one picture; `session` runs the scoring graph of the bundle. */
export async function scorePicture(
  session: Session,
  { model, profile: { preprocessing } }: Pick<Manifest, 'model' | 'profile'>,
  picture: InputSlice,
): Promise<{ rawScore: number; map: Float32Array }> {
  const side = model.imageSize;
  const data = new Float32Array(3 * side * side);
  normalise(prepare(picture, preprocessing, side).pixels, preprocessing, data);
  const { score, map } = await session.run({ x: { data, dims: [1, 3, side, side] } });
  return { rawScore: score.data[0], map: map.data };
}
