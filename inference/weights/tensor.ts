/// <reference lib="esnext.float16" />
import { readRange } from '../byte-range.ts';
import { SIZES } from '../safetensors.ts';
import type { Dtype, Safetensors } from '../safetensors.ts';

/** The largest tensor that is read at once, in bytes; the largest of a ViT-L has 16 MiB. */
const MAX_TENSOR = 2 ** 30;

/** A float tensor whose values are read when they are asked for: one at a time is in memory. */
export interface LazyTensor {
  readonly shape: readonly number[];
  /** How it is stored again: half precision stays half, everything else becomes float32. */
  readonly dtype: 'F32' | 'F16';
  /** Row-major. */
  read(): Promise<Float32Array<ArrayBuffer>>;
}

/** Tensors by name. */
export type StateDictionary = ReadonlyMap<string, LazyTensor>;

/** A view of a storage in a file, as PyTorch has it; strides in elements. */
export interface StridedTensor {
  readonly path: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** Of the first element, in bytes from the start of the file. */
  readonly offset: number;
}

/** The number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Elements from the first to the last of a view, both included; 0 if it is empty. */
export function span(shape: readonly number[], strides: readonly number[]): number {
  if (elements(shape) === 0) return 0;
  return shape.reduce((last, size, axis) => last + (size - 1) * strides[axis], 0) + 1;
}

/** Strides of a row-major tensor without gaps. */
export function contiguousStrides(shape: readonly number[]): number[] {
  return shape.map((_, axis) => elements(shape.slice(axis + 1)));
}

/** Reads a view, converted to float32. Reading throws for whole numbers and for more than 1 GiB. */
export function stridedTensor({ path, dtype, shape, strides, offset }: StridedTensor): LazyTensor {
  return {
    shape,
    dtype: dtype === 'F16' ? 'F16' : 'F32',
    async read() {
      const [count, reach] = [elements(shape), span(shape, strides)];
      const size = SIZES[dtype];
      if (Math.max(4 * count, size * reach) > MAX_TENSOR) {
        throw new Error(`a tensor (${shape.join(', ')}) is larger than ${MAX_TENSOR} bytes`);
      }
      const values = decode(dtype, await readRange(path, offset, reach * size));
      const contiguous = contiguousStrides(shape);
      const gapless = shape.every((size, axis) => size === 1 || strides[axis] === contiguous[axis]);
      return gapless ? values : gather(values, shape, strides);
    },
  };
}

/** The float tensors of a safetensors file. */
export function safetensorsState({ path, tensors }: Safetensors): StateDictionary {
  return new Map(
    [...tensors].map(([name, { dtype, shape, offset }]) => [
      name,
      stridedTensor({ path, dtype, shape, strides: contiguousStrides(shape), offset }),
    ]),
  );
}

function decode(dtype: Dtype, bytes: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const { buffer } = bytes;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'F16':
      return new Float32Array(new Float16Array(buffer));
    case 'F64':
      return new Float32Array(new Float64Array(buffer));
    case 'BF16': {
      // The upper half of a float32.
      const halves = new Uint16Array(buffer);
      const words = new Uint32Array(halves.length);
      for (let i = 0; i < halves.length; i++) words[i] = halves[i] << 16;
      return new Float32Array(words.buffer);
    }
    default:
      throw new Error(`${dtype} is no floating-point type`);
  }
}

/** The elements of a view in row-major order. */
function gather(
  values: Float32Array,
  shape: readonly number[],
  strides: readonly number[],
): Float32Array<ArrayBuffer> {
  const result = new Float32Array(elements(shape));
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < result.length; to++) {
    result[to] = values[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return result;
}
