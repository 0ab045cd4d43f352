import { normal, randomStream } from '../fixtures/random.ts';
import { PooledValues } from './pooled-values.ts';

/** As the sorted values have them. */
function exact(values: Float32Array, count: number): number[] {
  const sorted = values.toSorted();
  return Array.from({ length: count }, (_, i) => sorted[Math.ceil((i / (count - 1)) * (sorted.length - 1))]);
}

function pooled(values: Float32Array, count: number): number[] {
  const pool = new PooledValues();
  pool.add(values.subarray(0, 10));
  pool.add(values.subarray(10));
  return pool.quantiles(count);
}

test('few values give the exact quantiles', () => {
  const values = Float32Array.from({ length: 41 }, (_, i) => ((i * 17) % 41) - 20);
  expect(pooled(values, 11)).toEqual(exact(values, 11));
  expect(pooled(values, 41)).toEqual(exact(values, 41));
  expect(() => new PooledValues().quantiles(2)).toThrow('no values');
});

test('many values give quantiles that were added, not below the exact ones and close to them', () => {
  const random = randomStream(3, 'pool');
  const values = Float32Array.from({ length: 200_000 }, () => normal(random) ** 3);
  const added = new Set(values);
  const expected = exact(values, 1001);
  for (const [i, quantile] of pooled(values, 1001).entries()) {
    expect(added.has(quantile)).toBe(true);
    expect(quantile).toBeGreaterThanOrEqual(expected[i]);
    expect(quantile - expected[i]).toBeLessThanOrEqual(2 ** -13 * Math.abs(expected[i]));
  }
});
