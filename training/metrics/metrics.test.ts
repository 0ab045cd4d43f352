import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GOLDEN_FOLDER } from '../../fixtures/golden.ts';
import { bootstrapIntervals } from './bootstrap.ts';
import { connectedRegions } from './connected-regions.ts';
import { PixelMetricsAccumulator } from './pixel-metrics.ts';
import { rank, rankingMetrics, rocCurve } from './ranking.ts';

interface Expected {
  auroc: number;
  averagePrecision: number;
}
interface Reference {
  images: (Expected & { scores: string; labels: string; rocPoints: number; rocSquares: number })[];
  pixels: (Expected & {
    exact: boolean;
    columns: number;
    count: number;
    maps: string;
    masks: string;
    regions: number;
    pro: number;
  })[];
}

/** What scikit-learn and scikit-image say; see the script beside it. */
const reference = JSON.parse(
  readFileSync(join(import.meta.dirname, 'reference', 'metrics.json'), 'utf8'),
) as Reference;

const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'base64'));
const floats = (text: string) => new Float32Array(bytes(text).buffer);

describe.each(reference.images)('cases with AUROC $auroc', (expected) => {
  const ranked = rank(floats(expected.scores), bytes(expected.labels));

  test('AUROC and average precision are those of scikit-learn', () => {
    const { auroc, averagePrecision } = rankingMetrics(ranked);
    expect(auroc).toBeCloseTo(expected.auroc, 12);
    expect(averagePrecision).toBeCloseTo(expected.averagePrecision, 12);
  });

  test('the ROC curve is that of scikit-learn', () => {
    const points = rocCurve(ranked);
    expect(points).toHaveLength(expected.rocPoints);
    const squares = points.reduce((sum, { fpr, tpr }) => sum + fpr ** 2 + tpr ** 2, 0);
    expect(squares).toBeCloseTo(expected.rocSquares, 9);
    expect(points.at(-1)).toEqual({ fpr: 1, tpr: 1 });
  });

  test('a case of weight 2 counts as two cases', () => {
    const scores = floats(expected.scores);
    const labels = bytes(expected.labels);
    const twice = scores
      .map((_, i) => i % 2)
      .reduce<number[]>((all, odd, i) => (odd ? [...all, i, i] : [...all, i]), []);
    const repeated = rankingMetrics(
      rank(
        twice.map((i) => scores[i]),
        twice.map((i) => labels[i]),
      ),
    );
    const weighted = rankingMetrics(
      ranked,
      Array.from(ranked.order, (i) => 1 + (i % 2)),
    );
    expect(weighted.auroc).toBeCloseTo(repeated.auroc, 12);
    expect(weighted.averagePrecision).toBeCloseTo(repeated.averagePrecision, 12);
  });
});

test('AUROC and average precision with ties are those of the golden vectors', () => {
  const golden = JSON.parse(readFileSync(join(GOLDEN_FOLDER, 'metrics.json'), 'utf8')) as {
    scores: number[];
    labels: number[];
    auroc: number;
    ap: number;
  };
  const { auroc, averagePrecision } = rankingMetrics(rank(golden.scores, golden.labels));
  expect(auroc).toBeCloseTo(golden.auroc, 12);
  expect(averagePrecision).toBeCloseTo(golden.ap, 12);
});

test('cases that cannot be ranked are refused', () => {
  expect(() => rank([1, NaN], [0, 1])).toThrow('score 1 is NaN');
  expect(() => rank([1, 2], [0, 2])).toThrow('label 1 is 2');
  expect(() => rank([1], [0, 1])).toThrow('1 scores have 2 labels');
  expect(rankingMetrics(rank([1, 2], [0, 0])).auroc).toBeNaN();
  expect(() => rocCurve(rank([1, 2], [1, 1]))).toThrow('needs normal and abnormal cases');
});

describe.each(reference.pixels)('pixels with AUROC $auroc', (expected) => {
  const { columns, count } = expected;
  const maps = floats(expected.maps);
  const masks = bytes(expected.masks);
  const size = columns * columns;
  const image = (i: number) =>
    [maps.slice(i * size, (i + 1) * size), masks.slice(i * size, (i + 1) * size)] as const;

  test('AUROC, average precision and PRO are those of scikit-learn and scikit-image', () => {
    const pixels = new PixelMetricsAccumulator();
    for (let i = 0; i < count; i++) pixels.add(...image(i), columns);
    const { auroc, averagePrecision, pro, binningError } = pixels.metrics()!;
    // Where values are apart, bins change nothing; the random ones fall together now and then.
    const digits = expected.exact ? 12 : 4;
    expect(auroc).toBeCloseTo(expected.auroc, digits);
    expect(Math.abs(auroc - expected.auroc)).toBeLessThanOrEqual(binningError + 1e-12);
    expect(averagePrecision).toBeCloseTo(expected.averagePrecision, expected.exact ? 12 : 3);
    expect(pro).toBeCloseTo(expected.pro, expected.exact ? 12 : 3);
  });

  test('regions are those of scikit-image', () => {
    const found = Array.from({ length: count }, (_, i) => connectedRegions(image(i)[1], columns));
    expect(found.reduce((sum, { sizes }) => sum + sizes.length, 0)).toBe(expected.regions);
    const inside = masks.reduce((sum, value) => sum + value, 0);
    expect(found.reduce((sum, { sizes }) => sum + sizes.reduce((a, b) => a + b, 0), 0)).toBe(inside);
  });
});

test('pixels: negative values rank below positive ones; what cannot be measured is refused', () => {
  const pixels = new PixelMetricsAccumulator();
  pixels.add(Float32Array.of(-2, -1, -0.5, 0, 0.5, 1), Uint8Array.of(0, 0, 0, 1, 1, 1), 3);
  expect(pixels.metrics()).toMatchObject({ auroc: 1, averagePrecision: 1, pro: 1, binningError: 0 });
  const normal = new PixelMetricsAccumulator();
  normal.add(Float32Array.of(1, 2), Uint8Array.of(0, 0), 2);
  expect(normal.metrics()).toBeUndefined();
  expect(() => {
    normal.add(Float32Array.of(1, NaN), Uint8Array.of(0, 1), 2);
  }).toThrow('pixel 1 of a map is not a number');
  expect(() => {
    normal.add(Float32Array.of(1, 2), Uint8Array.of(0), 2);
  }).toThrow('has a mask of 1');
});

describe('bootstrap intervals', () => {
  const scores = floats(reference.images[0].scores);
  const labels = [...bytes(reference.images[0].labels)];
  const cases = (patients: string[]) => ({ scores: [...scores], labels, patients });
  const alone = scores.reduce<string[]>((all, _, i) => [...all, `${i}`], []);

  test('hold the value, and have about the width of DeLong and Hanley–McNeil', () => {
    const { auroc } = bootstrapIntervals(cases(alone), { resamples: 1000 });
    const value = reference.images[0].auroc;
    expect(auroc[0]).toBeLessThan(value);
    expect(auroc[1]).toBeGreaterThan(value);
    // Hanley & McNeil, Radiology 1982, equation 1.
    const positives = labels.reduce((sum, label) => sum + label, 0);
    const negatives = labels.length - positives;
    const [q1, q2] = [value / (2 - value), (2 * value ** 2) / (1 + value)];
    const variance =
      (value * (1 - value) + (positives - 1) * (q1 - value ** 2) + (negatives - 1) * (q2 - value ** 2)) /
      (positives * negatives);
    const width = 2 * 1.96 * Math.sqrt(variance);
    expect((auroc[1] - auroc[0]) / width).toBeGreaterThan(0.8);
    expect((auroc[1] - auroc[0]) / width).toBeLessThan(1.2);
  });

  test('are the same for the same seed, and wider where patients have many images', () => {
    const options = { resamples: 500 };
    const own = bootstrapIntervals(cases(alone), options);
    expect(bootstrapIntervals(cases(alone), options)).toEqual(own);
    expect(bootstrapIntervals(cases(alone), { ...options, seed: 2 })).not.toEqual(own);
    // 30 patients: the ten images of each are alike.
    const sorted = [0, 1].flatMap((label) =>
      alone
        .map(Number)
        .filter((i) => labels[i] === label)
        .sort((a, b) => scores[a] - scores[b]),
    );
    const patients: string[] = [];
    sorted.forEach((i, position) => (patients[i] = `${Math.floor(position / 10)}`));
    const clustered = bootstrapIntervals(cases(patients), options);
    expect(clustered.auroc[1] - clustered.auroc[0]).toBeGreaterThan(2 * (own.auroc[1] - own.auroc[0]));
  });

  test('need both classes', () => {
    expect(() => bootstrapIntervals({ scores: [1, 2], labels: [0, 0], patients: ['a', 'b'] })).toThrow(
      'need normal',
    );
  });

  test('two patients, one of each class: draws without a class are drawn again', () => {
    const { auroc } = bootstrapIntervals({ scores: [1, 2], labels: [0, 1], patients: ['a', 'b'] });
    expect(auroc).toEqual([1, 1]);
  });
});
