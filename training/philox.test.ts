import { dropoutMask } from './dropout.ts';
import { philox, shuffled, uniformStream } from './philox.ts';
import type { Counter } from './philox.ts';

const hex = (text: string) => text.split(' ').map((word) => parseInt(word, 16));

// Known answers published with the generator (Random123, kat_vectors).
test.each([
  ['00000000 00000000 00000000 00000000', '00000000 00000000', '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
  ['ffffffff ffffffff ffffffff ffffffff', 'ffffffff ffffffff', '408f276d 41c83b0e a20bc7c6 6d5451fd'],
  ['243f6a88 85a308d3 13198a2e 03707344', 'a4093822 299f31d0', 'd16cfe09 94fdcceb 5001e420 24126ea1'],
])('counter %s under key %s', (counter, key, expected) => {
  const result = philox(hex(counter) as unknown as Counter, hex(key) as [number, number]);
  expect(result).toEqual(hex(expected));
});

test('streams depend on seed, purpose and position, and on nothing else', () => {
  const first = (...of: Parameters<typeof uniformStream>) => {
    const random = uniformStream(...of);
    return Array.from({ length: 6 }, random);
  };
  const base = first(1, 'order', 5);
  expect(first(1, 'order', 5)).toEqual(base);
  for (const other of [first(2, 'order', 5), first(1, 'dropout', 5), first(1, 'order', 5 + 2 ** 32)]) {
    expect(other).not.toEqual(base);
  }
});

test('a shuffled order holds every number once', () => {
  const order = shuffled(1000, uniformStream(3, 'order', 0));
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  expect([...order.subarray(0, 5)]).not.toEqual([0, 1, 2, 3, 4]);
});

test('dropout zeroes the stated share and keeps the mean', () => {
  const mask = new Float32Array(200_000);
  dropoutMask(mask, 0.01, uniformStream(4, 'dropout', 0));
  const zeros = mask.filter((value) => value === 0).length;
  // Five standard deviations of a binomial count.
  expect(Math.abs(zeros - 2000)).toBeLessThan(5 * Math.sqrt(200_000 * 0.01 * 0.99));
  expect(new Set(mask)).toEqual(new Set([0, Math.fround(1 / 0.99)]));
  dropoutMask(mask, 0, uniformStream(4, 'dropout', 0));
  expect(new Set(mask)).toEqual(new Set([1]));
});
