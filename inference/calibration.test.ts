import { calibrate, fitCalibration, mapPercentiles, percentile, pValue, threshold } from './calibration.ts';

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

test('calibration of studies: score, largest map value, pooled pixels', () => {
  const studies = oneTo(39).map((i) => ({
    rawScore: 40 - i,
    maps: [Float32Array.of(i, 0), Float32Array.of(0, -i)],
  }));
  const calibration = fitCalibration(studies, 0.05, 101);
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
  expect(() => fitCalibration(studies, 0.05)).toThrow('not a finite number');
});
