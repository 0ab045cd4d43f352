import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lowerBound, upperBound } from './metrics/binomial-bound.ts';
import { aurocDifference } from './metrics/bootstrap.ts';
import { judge, neededPatients, trialMetrics } from './promotion-gate.ts';
import type { Trial } from './promotion-gate.ts';

/** What SciPy and scikit-learn say; see the script beside it. */
const reference = JSON.parse(
  readFileSync(join(import.meta.dirname, 'metrics/reference/gate.json'), 'utf8'),
) as {
  bounds: { events: number; trials: number; upper: number }[];
  paired: Parameters<typeof aurocDifference>[0] & { difference: number; lowerBound: number };
};

test.each(reference.bounds)(
  'bounds of $events in $trials are those of SciPy',
  ({ events, trials, upper }) => {
    expect(upperBound(events, trials)).toBeCloseTo(upper, 10);
    expect(lowerBound(trials - events, trials)).toBeCloseTo(1 - upper, 10);
  },
);

test('the paired bootstrap is that of scikit-learn, up to what is drawn', () => {
  const { difference, lowerBound: bound } = aurocDifference(reference.paired);
  expect(difference).toBeCloseTo(reference.paired.difference, 12);
  expect(Math.abs(bound - reference.paired.lowerBound)).toBeLessThan(0.003);
});

const patients = Array.from({ length: 200 }, (_, i) => `${i}`);
/** Normals from 0 to 1, abnormal ones `apart` above them. */
const scores = (apart: number) => patients.map((_, i) => ((i * 37) % 200) / 200 + apart);

function trial(changes: Partial<Trial> = {}): Trial {
  const threshold = 0.975; // 4 of 200 are above
  return {
    normalPatients: patients,
    abnormalPatients: patients,
    alpha: 0.05,
    candidate: { normal: scores(0), abnormal: scores(0.5), threshold },
    promoted: { normal: scores(0), abnormal: scores(0.5), threshold, sharedStudies: 0, informed: true },
    ...changes,
  };
}

const failing = (of: Trial) =>
  judge(of)
    .conditions.filter(({ passed }) => !passed)
    .map(({ name }) => name);

test('a candidate as good as the promoted bundle passes, with every number told', () => {
  const { passed, conditions } = judge(trial());
  expect(passed).toBe(true);
  expect(conditions.map(({ name }) => name)).toEqual([
    'intact',
    'false-positives',
    'auroc',
    'unseen',
    'normals',
  ]);
  expect(conditions[1].numbers).toEqual({
    flagged: 4,
    normals: 200,
    upperBound: upperBound(4, 200),
    limit: 0.1,
  });
  expect(conditions[1].finding).toBe(
    '4 of 200 held-out normals are flagged: with 95 % confidence 4.5 % at most; allowed are 10.0 %',
  );
  expect(trialMetrics(trial(), trial().candidate)).toMatchObject({
    auroc: expect.closeTo(0.875, 4) as number,
    falsePositiveRate: 0.02,
    sensitivity: 0.52,
  });
});

test('each condition stops a candidate on its own', () => {
  const { candidate, promoted } = trial();
  expect(failing(trial({ damage: 'its weights are damaged' }))).toEqual(['intact']);
  expect(failing(trial({ candidate: { ...candidate, threshold: 0.8 } }))).toEqual(['false-positives']);
  expect(failing(trial({ candidate: { ...candidate, abnormal: scores(0.4) } }))).toEqual(['auroc']);
  expect(failing(trial({ promoted: { ...promoted!, sharedStudies: 1 } }))).toEqual(['unseen']);
  expect(failing(trial({ promoted: { ...promoted!, threshold: 0.8 } }))).toEqual(['normals']);
  expect(failing(trial({ promoted: { ...promoted!, sharedStudies: undefined } }))).toEqual([]);
  const untrained = { ...promoted!, threshold: 0.8, informed: false };
  expect(failing(trial({ promoted: untrained }))).toEqual([]);
});

test('the margins are those of the bounds, not of the rates', () => {
  // 5 of 100 is alpha, and 0.05 worse with 95 % confidence: 10.2 %.
  const few = patients.slice(0, 100);
  const normal = few.map((_, i) => i);
  const of = (flagged: number): Trial => {
    const bundle = { normal, abnormal: normal.map((score) => score + 60), threshold: 99 - flagged };
    return {
      ...{ normalPatients: few, abnormalPatients: few, alpha: 0.05 },
      ...{ candidate: bundle, promoted: { ...bundle, sharedStudies: 0, informed: true } },
    };
  };
  expect(failing(of(4))).toEqual([]);
  expect(failing(of(5))).toEqual(['false-positives']);
  // A single difference in the AUROC's third digit, of few cases: it may be worse by more than 0.02.
  const paired: Trial = {
    normalPatients: ['a', 'b', 'c'],
    abnormalPatients: ['a', 'b', 'c'],
    alpha: 0.5,
    candidate: { normal: [1, 2, 3], abnormal: [1.5, 4, 5], threshold: 5 },
    promoted: {
      normal: [1, 2, 3],
      abnormal: [2.5, 4, 5],
      threshold: 5,
      sharedStudies: 0,
      informed: true,
    },
  };
  expect(failing(paired)).toContain('auroc');
});

test('the first bundle must be better than chance', () => {
  const { promoted: _none, ...first } = trial();
  const { conditions } = judge(first);
  expect(conditions.map(({ name }) => name)).toEqual(['intact', 'false-positives', 'auroc', 'normals']);
  expect(conditions[3]).toMatchObject({
    passed: true,
    finding: expect.stringMatching(/^not judged, since no bundle is promoted/) as string,
  });
  expect(failing(first)).toEqual([]);
  expect(failing({ ...first, candidate: { ...first.candidate, abnormal: scores(0) } })).toEqual(['auroc']);
});

test('says how many patients it needs', () => {
  expect(neededPatients(0.05)).toBe(29);
  expect(upperBound(0, 29)).toBeLessThanOrEqual(0.1);
  expect(upperBound(0, 28)).toBeGreaterThan(0.1);
});
