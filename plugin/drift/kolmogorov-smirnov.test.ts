import { readFileSync } from 'node:fs';
import { kolmogorovSmirnov } from './kolmogorov-smirnov.ts';

interface Case {
  a: number[];
  b: number[];
  statistic: number;
  pValue: number;
}

const cases = JSON.parse(readFileSync(new URL('reference/ks.json', import.meta.url), 'utf8')) as Case[];

test('says what SciPy says, exactly', () => {
  expect(cases).toHaveLength(6);
  for (const { a, b, statistic, pValue } of cases) {
    for (const found of [kolmogorovSmirnov(a, b), kolmogorovSmirnov(b, a)]) {
      expect(found.statistic).toBeCloseTo(statistic, 12);
      expect(found.pValue).toBeCloseTo(pValue, 9);
    }
  }
});

test('ties count once, and equal samples do not differ', () => {
  expect(kolmogorovSmirnov([1, 1, 2, 2], [2, 1])).toEqual({ statistic: 0, pValue: 1 });
  expect(kolmogorovSmirnov([1, 1, 1], [2, 2, 2])).toEqual({ statistic: 1, pValue: expect.closeTo(0.1, 12) });
  expect(() => kolmogorovSmirnov([], [1])).toThrow('empty');
});
