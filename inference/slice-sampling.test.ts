import { sampleSlices } from './slice-sampling.ts';

test('all slices, where no more are there than may be scored', () => {
  expect(sampleSlices(3, { maxSlices: null, sampling: 'even' })).toEqual([0, 1, 2]);
  expect(sampleSlices(3, { maxSlices: 3, sampling: 'central' })).toEqual([0, 1, 2]);
});

test('at equal distances, symmetric about the middle', () => {
  expect(sampleSlices(10, { maxSlices: 2, sampling: 'even' })).toEqual([2, 7]);
  expect(sampleSlices(9, { maxSlices: 3, sampling: 'even' })).toEqual([1, 4, 7]);
});

test('around the middle', () => {
  expect(sampleSlices(10, { maxSlices: 4, sampling: 'central' })).toEqual([3, 4, 5, 6]);
});
