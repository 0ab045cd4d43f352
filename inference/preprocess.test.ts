import { golden, maxError, openGolden } from '../fixtures/golden.ts';
import { denormalise, gridToSlice, normalise, resize } from './preprocess.ts';
import { readBytes } from './safetensors.ts';

const SIZE = 112;
const NORMALISATION = { mean: 0.449, std: 0.226 };

/** The planes of an image tensor (…, rows, columns). */
async function planes(file: string, name: string) {
  const opened = await openGolden(file);
  const [rows, columns] = opened.tensors.get(name)!.shape.slice(-2);
  const bytes = await readBytes(opened, name);
  const count = bytes.length / rows / columns;
  return Array.from({ length: count }, (_, i) => ({
    rows,
    columns,
    pixels: bytes.subarray(i * rows * columns, (i + 1) * rows * columns),
  }));
}

test.each([
  ['forward', 'raw_u8', 'u8'],
  ['augment', 'in', 'resize'],
])('resize agrees with torchvision to the byte (%s)', async (file, input, output) => {
  const expected = await planes(file, output);
  const actual = (await planes(file, input)).map((plane) => resize(plane, SIZE));
  expect(actual.length).toBe(expected.length);
  actual.forEach((pixels, i) => {
    expect(maxError(pixels, expected[i].pixels)).toBe(0);
  });
});

test('normalised input agrees with the released code', async () => {
  const resized = await planes('forward', 'u8');
  const expected = await golden('forward', 'x');
  const n = SIZE * SIZE;
  resized.forEach(({ pixels }, i) => {
    const three = new Float32Array(3 * n);
    normalise(pixels, NORMALISATION, three);
    for (const channel of [0, 1, 2]) {
      const actual = three.subarray(channel * n, (channel + 1) * n);
      expect(maxError(actual, expected.subarray(i * n, (i + 1) * n))).toBeLessThan(1e-6);
    }
  });
});

test('the affine takes the corners of the grid to the corners of the slice', () => {
  const [a, b, c, d, e, f] = gridToSlice({ rows: 150, columns: 130 }, SIZE);
  const apply = (x: number, y: number) => [a * x + b * y + c, d * x + e * y + f];
  expect(apply(0, 0)).toEqual([0, 0]);
  expect(apply(SIZE, SIZE)[0]).toBeCloseTo(130, 12);
  expect(apply(SIZE, SIZE)[1]).toBeCloseTo(150, 12);
});

test('a slice whose pixels are missing is refused', () => {
  expect(() => resize({ rows: 2, columns: 2, pixels: new Uint8Array(3) }, SIZE)).toThrow(
    'a slice of 2 × 2 cannot have 3 pixels',
  );
});

test('the released code’s input becomes the bytes again that it was made of; what lies outside of them is cut', async () => {
  const resized = await planes('forward', 'u8');
  const normalised = await golden('forward', 'x');
  const n = SIZE * SIZE;
  resized.forEach(({ pixels }, i) => {
    const three = new Float32Array(3 * n);
    for (const channel of [0, 1, 2]) three.set(normalised.subarray(i * n, (i + 1) * n), channel * n);
    expect(maxError(denormalise(three, NORMALISATION), pixels)).toBe(0);
  });
  expect([...denormalise(new Float32Array([-9, 9, -9, 9, -9, 9]), NORMALISATION)]).toEqual([0, 255]);
});
