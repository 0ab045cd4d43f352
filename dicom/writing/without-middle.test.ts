import { withoutMiddle } from './without-middle.ts';

test('what fits stays as it is', () => {
  expect(withoutMiddle('brain (UNTRAINED)', 17)).toBe('brain (UNTRAINED)');
});

test('a long text loses its middle and keeps its last word whole', () => {
  expect(withoutMiddle('brain-mri@0123456789ab (UNTRAINED)', 20)).toBe('brain-m..(UNTRAINED)');
  expect(withoutMiddle('brain-mri@0123456789ab (UNTRAINED)', 13)).toBe('..(UNTRAINED)');
});

test('where the last word does not fit there is no short form', () => {
  expect(withoutMiddle('brain-mri@0123456789ab (UNTRAINED)', 12)).toBeUndefined();
});
