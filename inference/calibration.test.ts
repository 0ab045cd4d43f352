import { randomStream } from '../fixtures/random.ts';
import {
  calibrate,
  fitCalibration,
  mapPercentiles,
  onePerPatient,
  percentile,
  pValue,
  threshold,
} from './calibration.ts';
import { PooledValues } from './pooled-values.ts';

const oneTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

test('the p-value counts calibration scores that are as high', () => {
  const table = oneTo(19);
  expect(pValue(table, 0)).toBe(1);
  expect(pValue(table, 1)).toBe(1);
  expect(pValue(table, 19)).toBe(2 / 20);
  expect(pValue(table, 19.5)).toBe(1 / 20);
  expect(percentile(table, 19.5)).toBeCloseTo(95, 12);
});

test('ties count as high as the score', () => {
  expect(pValue([1, 2, 2, 2, 3], 2)).toBe(5 / 6);
});

test('the threshold of 19 normals at 5 % is the largest, of 39 the second largest', () => {
  expect(threshold(oneTo(19), 0.05)).toBe(19);
  expect(threshold(oneTo(39), 0.05)).toBe(38);
});

test('above the threshold ⇔ p ≤ α, for every n, α and score', () => {
  for (let n = 1; n <= 60; n++) {
    const table = oneTo(n).map((i) => Math.floor(i / 3)); // with ties
    for (let j = 1; j <= n; j++) {
      const rate = j / (n + 1);
      const limit = threshold(table, rate);
      for (let score = -0.5; score <= n / 3 + 1; score += 0.5) {
        expect(score > limit).toBe(pValue(table, score) <= rate);
      }
    }
  }
});

test('a rate that no score could reach is refused, and says how many studies it needs', () => {
  expect(() => threshold(oneTo(18), 0.05)).toThrow(
    'needs at least 19 normal studies for calibration, there are 18',
  );
});

test('of n + 1 exchangeable scores, at most α (n + 1) are flagged by the other n', () => {
  const scores = oneTo(40).map((i) => Math.sin(i * 12.9898));
  const flagged = scores.filter((score, i) => {
    const others = scores.toSpliced(i, 1).sort((a, b) => a - b);
    return score > threshold(others, 0.05);
  });
  expect(flagged.length).toBe(2);
});

/** Calibration from whole maps. */
function fit(studies: readonly { rawScore: number; maps: Float32Array[] }[], ...rest: [number, number?]) {
  const values = new PooledValues();
  for (const map of studies.flatMap(({ maps }) => maps)) values.add(map);
  const normals = studies.map(({ rawScore, maps }) => ({
    rawScore,
    mapMaximum: Math.max(...maps.flatMap((map) => [...map])),
  }));
  return fitCalibration(normals, values, ...rest);
}

test('calibration of studies: score, largest map value, pooled pixels', () => {
  const studies = oneTo(39).map((i) => ({
    rawScore: 40 - i,
    maps: [Float32Array.of(i, 0), Float32Array.of(0, -i)],
  }));
  const calibration = fit(studies, 0.05, 101);
  expect(calibration.scores).toEqual(oneTo(39));
  expect(calibration.mapThreshold).toBe(38);
  expect(calibration.pixelQuantiles).toHaveLength(101);
  expect(calibration.pixelQuantiles[0]).toBe(-39);
  expect(calibration.pixelQuantiles[50]).toBe(0);
  expect(calibration.pixelQuantiles[100]).toBe(39);
  expect(calibrate(calibration, 38.5)).toEqual({
    rawScore: 38.5,
    pValue: 2 / 40,
    percentile: 95,
    threshold: 38,
    flagged: true,
  });
  const [low, high] = mapPercentiles(calibration, Float32Array.of(-40, 40));
  expect(low).toBe(0);
  expect(high).toBeCloseTo(100 * (1 - 1 / 102), 4);
});

test('a score that is not a number is refused', () => {
  const studies = oneTo(39).map((i) => ({ rawScore: i === 7 ? NaN : i, maps: [Float32Array.of(1)] }));
  expect(() => fit(studies, 0.05)).toThrow('not a finite number');
});

describe('the guarantee, by simulation', () => {
  const { log, sqrt, cos, PI } = Math;
  /** Skewed, heavy-tailed and tied distributions: the guarantee asks for none. */
  const distributions: Record<string, (uniform: () => number) => number> = {
    uniform: (uniform) => uniform(),
    exponential: (uniform) => -log(1 - uniform()),
    cauchy: (uniform) => Math.tan(PI * (uniform() - 0.5)),
    normal: (uniform) => sqrt(-2 * log(1 - uniform())) * cos(2 * PI * uniform()),
    tied: (uniform) => Math.floor(4 * uniform()),
  };
  const TRIALS = 4000;

  /** Share of new normals that are flagged, each by a calibration of its own. */
  function falsePositiveRate(n: number, alpha: number, draw: () => number): number {
    let flagged = 0;
    for (let trial = 0; trial < TRIALS; trial++) {
      const sorted = Float64Array.from({ length: n }, draw).sort();
      if (draw() > threshold(sorted, alpha)) flagged += 1;
    }
    return flagged / TRIALS;
  }

  test.each(
    Object.keys(distributions).flatMap(
      (name) =>
        [
          [name, 19, 0.05],
          [name, 39, 0.1],
          [name, 25, 0.2],
        ] as const,
    ),
  )('%s, %d normals at %d', (name, n, alpha) => {
    const uniform = randomStream(1, `${name} ${n}`);
    const rate = falsePositiveRate(n, alpha, () => distributions[name](uniform));
    const deviation = sqrt((alpha * (1 - alpha)) / TRIALS);
    expect(rate).toBeLessThan(alpha + 4 * deviation);
    // Without ties it is exactly ⌊α (n + 1)⌋ / (n + 1): nothing is given away either.
    const exact = Math.floor(alpha * (n + 1) + 1e-9) / (n + 1);
    if (name !== 'tied') expect(Math.abs(rate - exact)).toBeLessThan(4 * deviation);
  });

  test('patients whose studies are alike: one study a patient keeps it, all their studies do not', () => {
    const uniform = randomStream(1, 'patients');
    const [patients, alpha] = [19, 0.05];
    const flaggedBy = { one: 0, all: 0 };
    for (let trial = 0; trial < TRIALS; trial++) {
      const studies = Array.from({ length: patients }, (_, patient) => {
        const level = uniform();
        // Those of low scores come back often.
        return Array.from({ length: level < 0.5 ? 20 : 1 }, () => ({
          patient: `${patient}`,
          rawScore: level + uniform() / 100,
        }));
      }).flat();
      const score = uniform() + uniform() / 100;
      const sorted = (of: { rawScore: number }[]) => Float64Array.from(of, ({ rawScore }) => rawScore).sort();
      if (score > threshold(sorted(onePerPatient(studies)), alpha)) flaggedBy.one += 1;
      if (score > threshold(sorted(studies), alpha)) flaggedBy.all += 1;
    }
    expect(flaggedBy.one / TRIALS).toBeLessThan(alpha + 0.014);
    expect(flaggedBy.all / TRIALS).toBeGreaterThan(2 * alpha);
  });

  test('per pixel: of the pixels of a new normal map, at most α lie above the percentile 100 (1 − α)', () => {
    const uniform = randomStream(1, 'pixels');
    const draw = () => -log(1 - uniform());
    const map = () => Float32Array.from({ length: 400 }, draw);
    const studies = oneTo(39).map(() => ({ rawScore: draw(), maps: [map()] }));
    const calibration = fit(studies, 0.05);
    for (const alpha of [0.01, 0.05, 0.5]) {
      const above = oneTo(50)
        .flatMap(() => [...mapPercentiles(calibration, map())])
        .filter((value) => value >= 100 * (1 - alpha)).length;
      const rate = above / (50 * 400);
      const deviation = sqrt((alpha * (1 - alpha)) / (39 * 400)); // of the calibration's own quantile
      expect(rate).toBeLessThan(alpha + 4 * deviation);
      expect(rate).toBeGreaterThan(alpha - 4 * deviation - 0.002);
    }
  });
});

describe('closed-form cases', () => {
  test('below 1/(n + 1) nothing could be flagged, at it only what exceeds all', () => {
    for (const n of [1, 9, 19, 99, 999]) {
      expect(threshold(oneTo(n), 1 / (n + 1))).toBe(n);
      expect(() => threshold(oneTo(n), 0.999 / (n + 1))).toThrow('normal studies for calibration');
      const studies = oneTo(n).map((i) => ({ rawScore: i, maps: [Float32Array.of(i)] }));
      expect(() => fit(studies, 0.999 / (n + 1))).toThrow('normal studies for calibration');
    }
  });

  test('the percentile of the k-th of n scores is 100 k / (n + 1), less one step for its own tie', () => {
    for (const n of [4, 39]) {
      for (const k of oneTo(n)) {
        expect(percentile(oneTo(n), k)).toBeCloseTo((100 * (k - 1)) / (n + 1), 10);
        expect(percentile(oneTo(n), k + 0.5)).toBeCloseTo((100 * k) / (n + 1), 10);
      }
    }
  });

  test('a patient counts once, by the highest of the scores', () => {
    const study = (patient: string, rawScore: number) => ({ patient, rawScore });
    const studies = [study('a', 1), study('b', 5), study('a', 3), study('a', 2), study('c', 0)];
    expect(onePerPatient(studies)).toEqual([study('a', 3), study('b', 5), study('c', 0)]);
  });
});
