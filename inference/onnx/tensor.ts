/** Element types of ONNX tensors that the graphs use. */
export type ElementType = 'float32' | 'float16' | 'int8' | 'int64';

/** The size of an axis: a number, or a multiple of the batch size that is known only when the graph runs. */
export type Dimension = number | 'B' | `${number}B`;

export type Shape = readonly Dimension[];

/** A value in a graph: an input, an initializer or the output of a node. */
export interface Tensor {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: Shape;
}

/** `dimension` = size · batch^power, with power 0 or 1. */
export function factors(dimension: Dimension): { size: number; power: number } {
  if (typeof dimension === 'number') return { size: dimension, power: 0 };
  return { size: dimension === 'B' ? 1 : Number.parseInt(dimension), power: 1 };
}

/** The product of dimensions. Throws if more than one of them is symbolic. */
export function product(shape: Shape): Dimension {
  const parts = shape.map(factors);
  const size = parts.reduce((result, part) => result * part.size, 1);
  const power = parts.reduce((result, part) => result + part.power, 0);
  if (power > 1) throw new Error(`more than one symbolic dimension in ${describe(shape)}`);
  if (power === 0) return size;
  return size === 1 ? 'B' : `${size}B`;
}

/** The sum of dimensions, all numbers or all symbolic. */
export function sum(dimensions: Shape): Dimension {
  const parts = dimensions.map(factors);
  if (parts.some(({ power }) => power !== parts[0].power)) {
    throw new Error(`cannot add symbolic and known dimensions ${describe(dimensions)}`);
  }
  const size = parts.reduce((result, part) => result + part.size, 0);
  return parts[0].power === 0 ? size : product(['B', size]);
}

/** The shape of an element-by-element result (ONNX multidirectional broadcasting). */
export function broadcast(a: Shape, b: Shape): Dimension[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1) return right;
    throw new Error(`shapes ${describe(a)} and ${describe(b)} do not broadcast`);
  });
}

/** A shape as an error shows it: `(B, 261, 1024)`. */
export function describe(shape: Shape): string {
  return `(${shape.join(', ')})`;
}
