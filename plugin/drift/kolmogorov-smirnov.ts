/**
 * Whether two samples come from one distribution: the two-sample, two-sided Kolmogorov–Smirnov test with its exact
 * p-value (Hodges 1957, Arkiv för Matematik 3: the share of lattice paths that stay within the statistic). With ties
 * the p-value is too large, never too small. Takes time in proportion to the product of the sizes.
 *
 * @throws Error if a sample is empty.
 */
export function kolmogorovSmirnov(
  one: readonly number[],
  other: readonly number[],
): { statistic: number; pValue: number } {
  const [a, b] = [Float64Array.from(one).sort(), Float64Array.from(other).sort()];
  const [m, n] = [a.length, b.length];
  if (m === 0 || n === 0) throw new Error('a sample is empty');
  let distance = 0; // |i/m − j/n| · m·n, a whole number
  for (let i = 0, j = 0; i < m && j < n;) {
    const value = Math.min(a[i], b[j]);
    while (i < m && a[i] === value) i++;
    while (j < n && b[j] === value) j++;
    distance = Math.max(distance, Math.abs(i * n - j * m));
  }
  // within[j]: the share of paths to (i, j) on which every distance is smaller.
  const within = new Float64Array(n + 1);
  for (let j = 0; j <= n; j++) within[j] = j * m < distance ? 1 : 0;
  for (let i = 1; i <= m; i++) {
    const weight = i / (i + n);
    within[0] = i * n < distance ? weight * within[0] : 0;
    for (let j = 1; j <= n; j++) {
      within[j] = Math.abs(i * n - j * m) < distance ? weight * within[j] + within[j - 1] : 0;
    }
  }
  return { statistic: distance / (m * n), pValue: distance === 0 ? 1 : Math.max(0, 1 - within[n]) };
}
