import { BETA2, type AdamScalars } from './adam.ts';

type AdamArrays = Readonly<Record<'weight' | 'mean' | 'square' | 'gradient', Float32Array>>;

/** An operation on each element of long arrays of one length. */
export type Elementwise =
  | { readonly name: 'add'; readonly arrays: { readonly sum: Float32Array; readonly value: Float32Array } }
  | { readonly name: 'square sum'; readonly arrays: { readonly value: Float32Array } }
  | {
      readonly name: 'adam';
      readonly arrays: AdamArrays;
      readonly scalars: AdamScalars;
    };

/** Does an operation in this thread; returns the sum, where one is asked for, else 0. */
export function runElementwise(operation: Elementwise): number {
  switch (operation.name) {
    case 'add':
      addTo(operation.arrays.sum, operation.arrays.value);
      return 0;
    case 'square sum':
      return squareSum(operation.arrays.value);
    case 'adam':
      adamInPlace(operation.arrays, operation.scalars);
      return 0;
  }
}

function addTo(sum: Float32Array, value: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i] += value[i];
}

/** In four parts, so that an addition need not wait for the one before. */
function squareSum(values: Float32Array): number {
  const parts = [0, 0, 0, 0];
  const whole = values.length - (values.length % 4);
  for (let i = 0; i < whole; i += 4) {
    parts[0] += values[i] * values[i];
    parts[1] += values[i + 1] * values[i + 1];
    parts[2] += values[i + 2] * values[i + 2];
    parts[3] += values[i + 3] * values[i + 3];
  }
  for (let i = whole; i < values.length; i++) parts[0] += values[i] * values[i];
  return parts[0] + parts[1] + parts[2] + parts[3];
}

/** The formulas of `adamStep`, in double precision. */
function adamInPlace(
  { weight, mean, square, gradient }: AdamArrays,
  { beta1, meanShare, squareShare, stepSize, epsilon }: AdamScalars,
): void {
  const { sqrt } = Math;
  for (let i = 0; i < weight.length; i++) {
    const newMean = mean[i] * beta1 + gradient[i] * meanShare;
    const newSquare = square[i] * BETA2 + gradient[i] * gradient[i] * squareShare;
    mean[i] = newMean;
    square[i] = newSquare;
    weight[i] -= (newMean * stepSize) / (sqrt(newSquare) + epsilon);
  }
}
