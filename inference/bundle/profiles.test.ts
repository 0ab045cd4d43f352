import { tasks } from '../model/presets.ts';
import { taskProfile } from './profiles.ts';
import type { ProfileName } from './profiles.ts';
import { profileSchema } from './schema.ts';

const names = Object.keys(tasks) as ProfileName[];

test('there are the five profiles of the paper, each a valid one under its own name', () => {
  expect(names).toEqual(['brain-mri', 'brain-mri-pair', 'retinal-oct', 'chest-xray', 'liver-ct']);
  for (const name of names) {
    const profile = taskProfile(name);
    expect(profile.name).toBe(name);
    expect(profileSchema.parse(profile)).toEqual(profile);
  }
});

test('reductions and preprocessing are those of the released configurations', () => {
  const reductions = names.map((name) => {
    const { image, map } = taskProfile(name).reductions;
    return [name, image, map];
  });
  expect(reductions).toEqual([
    ['brain-mri', 'max|mean', 'mean'],
    ['brain-mri-pair', 'max|mean', 'mean'],
    ['retinal-oct', 'max|mean', 'mean'],
    ['chest-xray', 'mean|max', 'mean'],
    ['liver-ct', 'max|mean', 'mean'],
  ]);
  expect(taskProfile('liver-ct').preprocessing).toEqual({
    mean: 0.449,
    std: 0.226,
    intensity: { from: 'window', center: 40, width: 400 },
    isolated: 'liver',
    placement: 'region',
    bilateral: { diameter: 9, sigmaColor: 75, sigmaSpace: 75 },
  });
  expect(taskProfile('chest-xray').preprocessing).toEqual({
    mean: 0.449,
    std: 0.226,
    intensity: { from: 'image' },
  });
});

test('a profile of an older bundle, without series and intensity, is valid as it is', () => {
  const { series, ...older } = taskProfile('chest-xray');
  const { intensity, ...preprocessing } = older.preprocessing;
  expect([series, intensity]).not.toContain(undefined);
  expect(profileSchema.parse({ ...older, preprocessing })).toEqual({ ...older, preprocessing });
});

test('percentiles the wrong way round are refused', () => {
  const profile = taskProfile('brain-mri');
  const intensity = { from: 'series', lowPercentile: 99, highPercentile: 1 };
  const { success } = profileSchema.safeParse({
    ...profile,
    preprocessing: { ...profile.preprocessing, intensity },
  });
  expect(success).toBe(false);
});
