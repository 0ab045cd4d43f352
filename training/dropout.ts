/**
 * Writes what a layer's output is multiplied with under dropout: 0 with probability `p`, else 1/(1 − p), so that
 * the mean stays. Draws the distances between zeros, which are geometric, instead of one number an element.
 */
export function dropoutMask(target: Float32Array, p: number, random: () => number): void {
  target.fill(1 / (1 - p));
  if (p === 0) return;
  const scale = 1 / Math.log1p(-p);
  const distance = () => Math.floor(Math.log1p(-random()) * scale);
  for (let i = distance(); i < target.length; i += 1 + distance()) target[i] = 0;
}
