/**
 * One-dimensional resampling as a linear map. Arithmetic of PyTorch's `interpolate` (align_corners false):
 * ATen/native/cpu/UpSampleKernel.cpp and timm/layers/patch_embed.py.
 */

/** A row of a resampling matrix without its zeros: output = Σ weights[i] · input[start + i]. */
export interface Window {
  readonly start: number;
  readonly weights: readonly number[];
}

/** A dense matrix, row-major, float64. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

interface Kernel {
  /** Half width, in input samples where nothing is reduced. */
  readonly support: number;
  readonly weight: (x: number) => number;
}

const BICUBIC_A = -0.5;

const bilinear: Kernel = { support: 1, weight: (x) => Math.max(1 - Math.abs(x), 0) };

const bicubic: Kernel = {
  support: 2,
  weight: (signed) => {
    const x = Math.abs(signed);
    if (x < 1) return ((BICUBIC_A + 2) * x - (BICUBIC_A + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * BICUBIC_A;
    return 0;
  },
};

/** Bilinear, widened when reducing (antialiased): `from` samples → `to` samples. */
export function bilinearAntialiased(from: number, to: number): Window[] {
  return antialiased(bilinear, from, to);
}

/** Bicubic with a = −0.5, widened when reducing (antialiased): `from` samples → `to` samples. */
export function bicubicAntialiased(from: number, to: number): Window[] {
  return antialiased(bicubic, from, to);
}

/** Bilinear between the two nearest samples, however much is reduced: `from` samples → `to` samples. */
export function bilinearNearest(from: number, to: number): Window[] {
  return Array.from({ length: to }, (_, i) => {
    const position = Math.max((i + 0.5) * (from / to) - 0.5, 0);
    const start = Math.min(Math.floor(position), from - 1);
    const fraction = start + 1 < from ? position - start : 0;
    return fraction === 0 ? { start, weights: [1] } : { start, weights: [1 - fraction, fraction] };
  });
}

/** ATen's `_compute_weights_aa`, rounded to float32 where it rounds: bytes then resize as torchvision's do. */
function antialiased(kernel: Kernel, from: number, to: number): Window[] {
  const scale = Math.fround(from / to);
  const stretch = Math.max(scale, 1);
  const support = Math.fround(kernel.support * stretch);
  return Array.from({ length: to }, (_, i) => {
    const center = Math.fround(scale * (i + 0.5));
    const start = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), from);
    const offset = Math.fround(start - center);
    const inverse = Math.fround(1 / stretch);
    const raw = Array.from({ length: end - start }, (_, j) =>
      Math.fround(kernel.weight(Math.fround((Math.fround(j + offset) + 0.5) * inverse))),
    );
    const total = raw.reduce((sum, weight) => Math.fround(sum + weight), 0);
    return { start, weights: raw.map((weight) => Math.fround(weight / total)) };
  });
}

/** The dense (windows × `from`) matrix. */
export function toMatrix(windows: readonly Window[], from: number): Matrix {
  const values = new Float64Array(windows.length * from);
  windows.forEach(({ start, weights }, row) => {
    values.set(weights, row * from + start);
  });
  return { rows: windows.length, columns: from, values };
}

/**
 * The map that takes a patch of `size` samples to the `base` samples on which a kernel of `base` taps gives
 * what its PI-resized kernel gives on the patch: pinv(M), with M the bicubic matrix base → size, (base × size).
 * PI-resize (FlexiViT, Beyer et al. 2023, eq. 5) resizes a kernel by pinv(Rᵀ) with R = M ⊗ M, and
 * pinv(M ⊗ M) = pinv(M) ⊗ pinv(M): so one may resample each patch's two axes instead of the kernel.
 */
export function patchResampling(base: number, size: number): Matrix {
  return pseudoInverse(toMatrix(bicubicAntialiased(base, size), base));
}

/**
 * PI-resize of patch embedding kernels: (kernels, from, from) → (kernels, to, to), row-major, as timm's
 * `resample_patch_embed`.
 */
export function resizePatchKernels(
  values: ArrayLike<number>,
  kernels: number,
  from: number,
  to: number,
): Float32Array<ArrayBuffer> {
  if (values.length !== kernels * from * from) {
    throw new Error(`${values.length} values are not ${kernels} kernels of ${from} × ${from}`);
  }
  const spread = transpose(patchResampling(from, to)); // (to, from)
  return applyToPlanes(spread, values, kernels);
}

/**
 * Bicubic antialiased resampling of a position embedding's square grid: (from², channels) → (to², channels).
 */
export function resizePositionGrid(
  values: ArrayLike<number>,
  channels: number,
  from: number,
  to: number,
): Float32Array<ArrayBuffer> {
  if (values.length !== channels * from * from) {
    throw new Error(`${values.length} values are not a grid of ${from} × ${from} × ${channels}`);
  }
  const matrix = toMatrix(bicubicAntialiased(from, to), from);
  const planes = Float64Array.from({ length: values.length }, (_, i) => {
    const [channel, position] = [Math.floor(i / from ** 2), i % from ** 2];
    return values[position * channels + channel];
  });
  const resized = applyToPlanes(matrix, planes, channels);
  return Float32Array.from({ length: resized.length }, (_, i) => {
    const [position, channel] = [Math.floor(i / channels), i % channels];
    return resized[channel * to ** 2 + position];
  });
}

/** matrix · plane · matrixᵀ for each of `count` square planes. */
function applyToPlanes(matrix: Matrix, values: ArrayLike<number>, count: number): Float32Array<ArrayBuffer> {
  const { rows: to, columns: from } = matrix;
  const result = new Float32Array(count * to * to);
  for (let k = 0; k < count; k++) {
    const plane = {
      rows: from,
      columns: from,
      values: Float64Array.from({ length: from * from }, (_, i) => values[k * from * from + i]),
    };
    result.set(multiply(multiply(matrix, plane), transpose(matrix)).values, k * to * to);
  }
  return result;
}

/** The transposed matrix, a copy. */
export function transpose({ rows, columns, values }: Matrix): Matrix {
  return {
    rows: columns,
    columns: rows,
    values: Float64Array.from({ length: values.length }, (_, i) => {
      const [column, row] = [Math.floor(i / rows), i % rows];
      return values[row * columns + column];
    }),
  };
}

function multiply(a: Matrix, b: Matrix): Matrix {
  const values = new Float64Array(a.rows * b.columns);
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.columns; k++) {
      const factor = a.values[i * a.columns + k];
      if (factor === 0) continue;
      for (let j = 0; j < b.columns; j++) values[i * b.columns + j] += factor * b.values[k * b.columns + j];
    }
  }
  return { rows: a.rows, columns: b.columns, values };
}

/** Of a matrix of full rank: (AᵀA)⁻¹Aᵀ if it is tall, Aᵀ(AAᵀ)⁻¹ if it is wide. */
function pseudoInverse(a: Matrix): Matrix {
  const t = transpose(a);
  return a.rows >= a.columns ? solve(multiply(t, a), t) : transpose(solve(multiply(a, t), a)); // AAᵀ is symmetric: Aᵀ(AAᵀ)⁻¹ = ((AAᵀ)⁻¹A)ᵀ
}

/** X with a · X = b, by Gaussian elimination with partial pivoting. */
function solve(a: Matrix, b: Matrix): Matrix {
  const n = a.rows;
  const rows = Array.from({ length: n }, (_, i) => [
    ...a.values.subarray(i * n, (i + 1) * n),
    ...b.values.subarray(i * b.columns, (i + 1) * b.columns),
  ]);
  for (let column = 0; column < n; column++) {
    const pivot = rows.reduce(
      (best, row, i) => (i > column && Math.abs(row[column]) > Math.abs(rows[best][column]) ? i : best),
      column,
    );
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    if (Math.abs(rows[column][column]) < 1e-12) throw new Error('the resampling matrix is singular');
    rows.forEach((row, i) => {
      const factor = row[column] / rows[column][column];
      if (i === column || factor === 0) return;
      for (let j = column; j < row.length; j++) row[j] -= factor * rows[column][j];
    });
  }
  const values = Float64Array.from(rows.flatMap((row, i) => row.slice(n).map((value) => value / row[i])));
  return { rows: n, columns: b.columns, values };
}
