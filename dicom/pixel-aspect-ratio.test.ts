import { pixelAspectRatio } from './pixel-aspect-ratio.ts';

const spacing = { vr: 'DS' as const, Value: [3, 2] };
const ratio = { vr: 'IS' as const, Value: ['1', '4'] };

test.each([
  [{ '00280030': spacing }, 1.5],
  [{ '00181164': spacing, '00280034': ratio }, 1.5],
  [{ '00280034': ratio }, 0.25],
  [{ '00280030': { vr: 'DS' as const, Value: [0, 0] } }, 1],
  [{ '00280030': { vr: 'DS' as const, Value: [1000, 0.001] }, '00280034': ratio }, 0.25],
  [{}, 1],
])('%j: %d', (attributes, expected) => {
  expect(pixelAspectRatio(attributes)).toBe(expected);
});
