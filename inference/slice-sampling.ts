/** Which slices of a stack of `count` are scored, ascending indices; `maxSlices` null: all of them. */
export function sampleSlices(
  count: number,
  { maxSlices, sampling }: { maxSlices: number | null; sampling: 'even' | 'central' },
): number[] {
  if (maxSlices === null || count <= maxSlices) return Array.from({ length: count }, (_, i) => i);
  const index =
    sampling === 'central'
      ? (i: number) => Math.floor((count - maxSlices) / 2) + i
      : (i: number) => Math.floor(((i + 0.5) * count) / maxSlices);
  return Array.from({ length: maxSlices }, (_, i) => index(i));
}
