import { golden, maxAbs, maxError, openGolden } from '../fixtures/golden.ts';
import {
  bicubicAntialiased,
  bilinearAntialiased,
  bilinearNearest,
  resizePatchKernels,
  resizePositionGrid,
  toMatrix,
} from './resample.ts';

const methods = {
  bicubic_aa: bicubicAntialiased,
  bilinear_aa: bilinearAntialiased,
  bilinear: bilinearNearest,
};

test('matrices agree with PyTorch', async () => {
  const names = [...(await openGolden('resample')).tensors.keys()].filter((name) => name.includes('to'));
  expect(names.length).toBeGreaterThan(20);
  for (const name of names) {
    const [method, sizes] = name.split('.') as [keyof typeof methods, string];
    const [from, to] = sizes.split('to').map(Number);
    const error = maxError(toMatrix(methods[method](from, to), from).values, await golden('resample', name));
    expect({ name, close: error < 1e-6 }).toEqual({ name, close: true });
  }
});

test.each([8, 14, 28, 32, 56])('PI-resize of a 16 × 16 kernel to %d agrees with timm', async (size) => {
  const resized = resizePatchKernels(await golden('resample', 'pi.in_16'), 4 * 3, 16, size);
  const expected = await golden('resample', `pi.out_${size}`);
  expect(maxError(resized, expected) / maxAbs(expected)).toBeLessThan(1e-6);
});

test.each([16, 28, 56])('the perceptual model at patch size %d agrees with timm', async (size) => {
  const [kernels, dim, grid] = [48 * 3, 48, 112 / size];
  const weight = resizePatchKernels(await golden('mae_p16', 'patch_embed.proj.weight'), kernels, 16, size);
  const expected = await golden('mae_resampled', `p${size}.patch_embed.proj.weight`);
  expect(maxError(weight, expected) / maxAbs(expected)).toBeLessThan(1e-6);

  const positions = await golden('mae_p16', 'pos_embed');
  const patches = resizePositionGrid(positions.subarray(dim), dim, 14, grid);
  const resampled = Float32Array.from([...positions.subarray(0, dim), ...patches]);
  expect(maxError(resampled, await golden('mae_resampled', `p${size}.pos_embed`))).toBeLessThan(1e-6);
});

test('sizes that do not fit are refused', () => {
  expect(() => resizePatchKernels(new Float32Array(5), 1, 2, 4)).toThrow(
    '5 values are not 1 kernels of 2 × 2',
  );
  expect(() => resizePositionGrid(new Float32Array(5), 1, 2, 4)).toThrow(
    '5 values are not a grid of 2 × 2 × 1',
  );
});
