import { decimalString } from './decimal-string.ts';

test('decimals fit into 16 characters and read back within 1e-8', () => {
  const numbers = [
    1 / 3,
    -1 / 3,
    Math.PI * 1e13,
    -Math.PI * 1e-5,
    1e-7 / 3,
    -1e300 / 3,
    -1e-300 / 3,
    2 ** 53,
    123456.789,
  ];
  for (const number of numbers) {
    const text = decimalString(number);
    expect(text).toMatch(/^[-+0-9.eE]{1,16}$/);
    expect(Math.abs(Number(text) / number - 1)).toBeLessThan(1e-8);
  }
});

test('what is short stays as it is', () => {
  expect([0, 1, -0.5, 0.1, 1e21].map(decimalString)).toEqual(['0', '1', '-0.5', '0.1', '1e+21']);
});

test('infinities and NaN are refused', () => {
  for (const number of [NaN, Infinity, -Infinity])
    expect(() => decimalString(number)).toThrow('DS cannot hold');
});
