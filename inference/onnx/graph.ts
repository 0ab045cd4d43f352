import { ATTRIBUTE_TYPE, DATA_TYPE, encodeModel, EXTERNAL } from './onnx-proto.ts';
import { broadcast, describe, factors, product, sum } from './tensor.ts';
import type { ElementType, Shape, Tensor } from './tensor.ts';

export type Attributes = Readonly<Record<string, number | string | readonly number[]>>;

/** An operation of the graph. Nodes are in the order of computation: inputs come from earlier nodes. */
export interface Node {
  readonly opType: string;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attributes: Attributes;
}

/** Where the bytes of an initializer lie: in the graph itself, or in a file beside it. */
export type InitializerData =
  | { readonly values: Float32Array | BigInt64Array }
  | { readonly location: string; readonly offset: number; readonly length: number };

/** Attributes that ONNX types as float; all other numbers are integers. */
const FLOAT_ATTRIBUTES = new Set(['alpha', 'beta', 'epsilon']);

const OPSET = 20;

/** Operators that are not ONNX's but onnxruntime's. */
const RUNTIME_OPERATORS = new Set(['DynamicQuantizeMatMul']);
const RUNTIME_DOMAIN = 'com.microsoft';

const IR_VERSION = 9;

/**
 * An ONNX graph under construction (opset 20). Methods named after operators append a node and return its
 * output; all shapes are known at once, and a misfit throws there and then. Only appended to, never changed,
 * so that a graph can be walked, e.g. to differentiate it, and extended.
 *
 * @example
 * const graph = new Graph();
 * const x = graph.input('x', ['B', 4]);
 * graph.output('y', graph.softmax(x));
 * const session = await InferenceSession.create(graph.toBytes());
 */
export class Graph {
  readonly nodes: Node[] = [];
  readonly inputs: Tensor[] = [];
  readonly outputs = new Map<string, Tensor>();
  readonly initializers = new Map<Tensor, InitializerData>();
  readonly #names = new Set<string>();
  readonly #constants = new Map<string, Tensor>();

  /** A value that is fed on each run. */
  input(name: string, shape: Shape, type: ElementType = 'float32'): Tensor {
    const tensor = this.#tensor(name, type, shape);
    this.inputs.push(tensor);
    return tensor;
  }

  /** Makes `tensor` a result of the graph under `name`. */
  output(name: string, tensor: Tensor): void {
    this.outputs.set(name, this.#emit('Identity', [tensor], [tensor.shape], {}, name)[0]);
  }

  /** An initializer whose bytes stay in a file: `location` is relative to the folder that the session is given. */
  external(
    name: string,
    type: ElementType,
    shape: readonly number[],
    data: { location: string; offset: number; length: number },
  ): Tensor {
    const tensor = this.#tensor(name, type, shape);
    this.initializers.set(tensor, data);
    return tensor;
  }

  /** A small constant inside the graph. Equal constants are stored once. */
  constant(shape: readonly number[], values: ArrayLike<number>): Tensor {
    if (product(shape) !== values.length) {
      throw new Error(`constant: ${values.length} values do not fill ${describe(shape)}`);
    }
    return this.#constant('float32', shape, Float32Array.from(values));
  }

  scalar(value: number): Tensor {
    return this.constant([], [value]);
  }

  add(a: Tensor, b: Tensor): Tensor {
    return this.#elementwise('Add', a, b);
  }

  sub(a: Tensor, b: Tensor): Tensor {
    return this.#elementwise('Sub', a, b);
  }

  mul(a: Tensor, b: Tensor): Tensor {
    return this.#elementwise('Mul', a, b);
  }

  div(a: Tensor, b: Tensor): Tensor {
    return this.#elementwise('Div', a, b);
  }

  max(a: Tensor, b: Tensor): Tensor {
    return this.#elementwise('Max', a, b);
  }

  min(a: Tensor, b: Tensor): Tensor {
    return this.#elementwise('Min', a, b);
  }

  neg(x: Tensor): Tensor {
    return this.#emit('Neg', [x], [x.shape])[0];
  }

  sqrt(x: Tensor): Tensor {
    return this.#emit('Sqrt', [x], [x.shape])[0];
  }

  exp(x: Tensor): Tensor {
    return this.#emit('Exp', [x], [x.shape])[0];
  }

  erf(x: Tensor): Tensor {
    return this.#emit('Erf', [x], [x.shape])[0];
  }

  /** Exact (erf) GELU. */
  gelu(x: Tensor): Tensor {
    return this.#emit('Gelu', [x], [x.shape])[0];
  }

  /** Over the last axis. */
  softmax(x: Tensor): Tensor {
    return this.#emit('Softmax', [x], [x.shape], { axis: -1 })[0];
  }

  /** Over the last axis; the node's other two outputs are mean and inverse standard deviation. */
  layerNormalization(x: Tensor, scale: Tensor, bias: Tensor, epsilon: number): Tensor {
    const size = x.shape.at(-1)!;
    for (const parameter of [scale, bias]) expectShape('LayerNormalization', parameter, [size]);
    const statistics = [...x.shape.slice(0, -1), 1];
    const attributes = { axis: -1, epsilon };
    return this.#emit(
      'LayerNormalization',
      [x, scale, bias],
      [x.shape, statistics, statistics],
      attributes,
    )[0];
  }

  /** Matrix product over the last two axes; the axes before them broadcast. */
  matMul(a: Tensor, b: Tensor): Tensor {
    if (a.shape.length < 2 || b.shape.length < 2 || a.shape.at(-1) !== b.shape.at(-2)) {
      throw new Error(`MatMul: ${describe(a.shape)} and ${describe(b.shape)} do not multiply`);
    }
    const shape = [
      ...broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2)),
      a.shape.at(-2)!,
      b.shape.at(-1)!,
    ];
    return this.#emit('MatMul', [a, b], [shape])[0];
  }

  /** a · b + c for matrices, each of a and b transposed on request. */
  gemm(a: Tensor, b: Tensor, c?: Tensor, options: { transA?: boolean; transB?: boolean } = {}): Tensor {
    const [rows, inner] = options.transA ? a.shape.toReversed() : a.shape;
    const [innerB, columns] = options.transB ? b.shape.toReversed() : b.shape;
    if (a.shape.length !== 2 || b.shape.length !== 2 || inner !== innerB) {
      throw new Error(`Gemm: ${describe(a.shape)} and ${describe(b.shape)} do not multiply`);
    }
    if (c && describe(broadcast([rows, columns], c.shape)) !== describe([rows, columns])) {
      throw new Error(`Gemm: bias ${describe(c.shape)} does not fit ${describe([rows, columns])}`);
    }
    const attributes = { transA: Number(options.transA ?? false), transB: Number(options.transB ?? false) };
    return this.#emit('Gemm', c ? [a, b, c] : [a, b], [[rows, columns]], attributes)[0];
  }

  /**
   * a (M, K) times an int8 matrix (K, N) whose columns have the scales (N), plus c (N). `a` becomes 8-bit integers on
   * its way, with a scale and a zero point for all of it; sums are exact, the result is float32. An operator of
   * onnxruntime, for the CPU.
   */
  dynamicQuantizeMatMul(a: Tensor, b: Tensor, scales: Tensor, c?: Tensor): Tensor {
    const [[rows, inner], [innerB, columns]] = [a.shape, b.shape];
    if (a.shape.length !== 2 || b.shape.length !== 2 || inner !== innerB) {
      throw new Error(`DynamicQuantizeMatMul: ${describe(a.shape)} and ${describe(b.shape)} do not multiply`);
    }
    for (const perColumn of c ? [scales, c] : [scales]) {
      expectShape('DynamicQuantizeMatMul', perColumn, [columns]);
    }
    const inputs = [a, b, scales, this.cast(this.scalar(0), 'int8'), ...(c ? [c] : [])];
    return this.#emit('DynamicQuantizeMatMul', inputs, [[rows, columns]])[0];
  }

  reshape(x: Tensor, shape: Shape): Tensor {
    if (product(x.shape) !== product(shape)) {
      throw new Error(`Reshape: ${describe(x.shape)} does not become ${describe(shape)}`);
    }
    const known = shape.map((dimension) => (typeof dimension === 'number' ? dimension : -1));
    return this.#emit('Reshape', [x, this.#integers(known)], [shape])[0];
  }

  /** Output axis i is input axis `permutation[i]`. */
  transpose(x: Tensor, permutation: readonly number[]): Tensor {
    if (
      permutation.toSorted((a, b) => a - b).some((axis, i) => axis !== i) ||
      permutation.length !== x.shape.length
    ) {
      throw new Error(`Transpose: [${permutation.join(', ')}] does not permute ${describe(x.shape)}`);
    }
    const shape = permutation.map((axis) => x.shape[axis]);
    return this.#emit('Transpose', [x], [shape], { perm: permutation })[0];
  }

  concat(tensors: readonly Tensor[], axis: number): Tensor {
    const [first] = tensors;
    const others = (tensor: Tensor) => describe(tensor.shape.with(axis, 1));
    const misfit = tensors.find((tensor) => others(tensor) !== others(first));
    if (misfit) {
      throw new Error(
        `Concat: ${describe(misfit.shape)} does not join ${describe(first.shape)} on axis ${axis}`,
      );
    }
    const shape = first.shape.with(axis, sum(tensors.map((tensor) => tensor.shape.at(axis)!)));
    return this.#emit('Concat', tensors, [shape], { axis })[0];
  }

  /** `count` equal parts along `axis`. */
  split(x: Tensor, count: number, axis: number): Tensor[] {
    const { size, power } = factors(x.shape.at(axis)!);
    if (size % count !== 0) {
      throw new Error(`Split: axis ${axis} of ${describe(x.shape)} has no ${count} equal parts`);
    }
    const part = x.shape.with(axis, product([size / count, ...(power === 1 ? ['B' as const] : [])]));
    const shapes = Array.from({ length: count }, () => part);
    return this.#emit('Split', [x], shapes, { axis, num_outputs: count });
  }

  /** Elements `start` (included) to `end` (excluded) along `axis`. */
  slice(x: Tensor, axis: number, start: number, end: number): Tensor {
    const size = x.shape.at(axis);
    if (typeof size !== 'number' || start < 0 || end > size || start >= end) {
      throw new Error(`Slice: ${start}..${end} is not inside axis ${axis} of ${describe(x.shape)}`);
    }
    const inputs = [x, this.#integers([start]), this.#integers([end]), this.#integers([axis])];
    return this.#emit('Slice', inputs, [x.shape.with(axis, end - start)])[0];
  }

  /** Adds `before` zeros in front of, and `after` zeros behind, the elements along `axis`. */
  pad(x: Tensor, axis: number, before: number, after: number): Tensor {
    const shape = x.shape.with(axis, sum([x.shape.at(axis)!, before + after]));
    const zeros = x.shape.map(() => 0);
    const pads = [...zeros.with(axis, before), ...zeros.with(axis, after)];
    return this.#emit('Pad', [x, this.#integers(pads)], [shape])[0];
  }

  /** Repeats axes of size 1 so that `x` fills `shape`, which must be known. */
  expand(x: Tensor, shape: readonly number[]): Tensor {
    if (describe(broadcast(x.shape, shape)) !== describe(shape)) {
      throw new Error(`Expand: ${describe(x.shape)} does not fill ${describe(shape)}`);
    }
    return this.#emit('Expand', [x, this.#integers(shape)], [shape])[0];
  }

  /** Zeros below (`k` = 0: strictly below) the k-th diagonal of the last two axes. */
  upperTriangle(x: Tensor, k: number): Tensor {
    return this.#emit('Trilu', [x, this.#integers(k)], [x.shape], { upper: 1 })[0];
  }

  reduceSum(x: Tensor, axes: readonly number[], keepDimensions = false): Tensor {
    return this.#reduce('ReduceSum', x, axes, keepDimensions);
  }

  reduceMean(x: Tensor, axes: readonly number[], keepDimensions = false): Tensor {
    return this.#reduce('ReduceMean', x, axes, keepDimensions);
  }

  reduceMax(x: Tensor, axes: readonly number[], keepDimensions = false): Tensor {
    return this.#reduce('ReduceMax', x, axes, keepDimensions);
  }

  reduceMin(x: Tensor, axes: readonly number[], keepDimensions = false): Tensor {
    return this.#reduce('ReduceMin', x, axes, keepDimensions);
  }

  /** round(x / scale), halves to even, as int8; there is a scale for each index of `axis`. */
  quantizeLinear(x: Tensor, scales: Tensor, axis: number): Tensor {
    expectShape('QuantizeLinear', scales, [x.shape[axis]]);
    const zeros = this.cast(
      this.constant([x.shape[axis] as number], new Float32Array(x.shape[axis] as number)),
      'int8',
    );
    return this.#emit('QuantizeLinear', [x, scales, zeros], [x.shape], { axis }, undefined, 'int8')[0];
  }

  cast(x: Tensor, type: ElementType): Tensor {
    return this.#emit('Cast', [x], [x.shape], { to: DATA_TYPE[type] }, undefined, type)[0];
  }

  /** Appends `node` once more, with other inputs of the same shapes; returns its outputs. */
  repeat(node: Node, inputs: readonly Tensor[]): Tensor[] {
    const shapes = node.outputs.map(({ shape }) => shape);
    return this.#emit(node.opType, inputs, shapes, node.attributes, undefined, node.outputs[0].type);
  }

  /** The nodes that some output depends on, in the order of computation. */
  neededNodes(): Node[] {
    const needed = new Set<Tensor>(this.outputs.values());
    return this.nodes
      .toReversed()
      .filter((node) => {
        const used = node.outputs.some((output) => needed.has(output));
        if (used) for (const input of node.inputs) needed.add(input);
        return used;
      })
      .reverse();
  }

  /**
   * The ONNX model. What no output depends on is left out; inputs stay, so that a caller can rely on them.
   * A session finds the external weights through its option
   * `extra.session.model_external_initializers_file_folder_path`.
   */
  toBytes(): Uint8Array {
    const nodes = this.neededNodes();
    return encodeGraph({
      node: this.#encodeNodes(nodes),
      initializer: this.#encodeInitializers(nodes, () => true),
      input: this.inputs.map((input) => encodeValueInfo(input)),
      output: [...this.outputs.values()].map((output) => encodeValueInfo(output)),
    });
  }

  /**
   * An ONNX model that runs this graph once for each slice of its other inputs along a new first axis (ONNX Scan).
   * `states` names the inputs that are carried from one run to the next, each with the output that is its next
   * value: they are inputs and, under that output's name, results of the model. The results of all other outputs
   * are stacked along a new first axis.
   */
  toScanBytes(states: ReadonlyMap<string, string>): Uint8Array {
    const nodes = this.neededNodes();
    const carried = [...states.keys()].map((name) => this.inputs.find((input) => input.name === name)!);
    const scanned = this.inputs.filter(({ name }) => !states.has(name));
    const nextStates = [...states.values()].map((name) => this.outputs.get(name)!);
    const stacked = [...this.outputs.values()].filter((output) => !nextStates.includes(output));
    const body = {
      name: 'body',
      node: this.#encodeNodes(nodes),
      // Those in files belong to the model: they are loaded once.
      initializer: this.#encodeInitializers(nodes, (data) => 'values' in data),
      input: [...carried, ...scanned].map((input) => encodeValueInfo(input)),
      output: [...nextStates, ...stacked].map((output) => encodeValueInfo(output)),
    };
    // The model's own names: those inside the body must not be seen twice.
    const model = (tensor: Tensor) => ({ ...tensor, name: `scan ${tensor.name}` });
    const names = (tensors: readonly Tensor[]) => tensors.map((tensor) => model(tensor).name);
    return encodeGraph({
      node: [
        {
          name: 'Scan',
          opType: 'Scan',
          input: names([...carried, ...scanned]),
          output: names([...nextStates, ...stacked]),
          attribute: [
            { name: 'body', type: ATTRIBUTE_TYPE.graph, g: body },
            encodeAttribute('num_scan_inputs', scanned.length),
          ],
        },
      ],
      initializer: this.#encodeInitializers(nodes, (data) => !('values' in data)),
      input: [
        ...carried.map((tensor) => encodeValueInfo(model(tensor))),
        ...scanned.map((tensor) => encodeValueInfo(model(tensor), ['runs'])),
      ],
      output: [
        ...nextStates.map((tensor) => encodeValueInfo(model(tensor))),
        ...stacked.map((tensor) => encodeValueInfo(model(tensor), ['runs'])),
      ],
    });
  }

  #encodeNodes(nodes: readonly Node[]) {
    const used = this.#used(nodes);
    return nodes.map((node) => encodeNode(node, used));
  }

  #encodeInitializers(nodes: readonly Node[], which: (data: InitializerData) => boolean) {
    const used = this.#used(nodes);
    return [...this.initializers]
      .filter(([tensor, data]) => used.has(tensor) && which(data))
      .map(([tensor, data]) => encodeInitializer(tensor, data));
  }

  #used(nodes: readonly Node[]): Set<Tensor> {
    return new Set([...nodes.flatMap((node) => node.inputs), ...this.outputs.values()]);
  }

  #elementwise(opType: string, a: Tensor, b: Tensor): Tensor {
    try {
      return this.#emit(opType, [a, b], [broadcast(a.shape, b.shape)])[0];
    } catch (error) {
      throw new Error(`${opType}: ${(error as Error).message}`, { cause: error });
    }
  }

  #reduce(opType: string, x: Tensor, axes: readonly number[], keepDimensions: boolean): Tensor {
    const rank = x.shape.length;
    const reduced = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis)));
    for (const axis of reduced) {
      if (!(axis in x.shape)) throw new Error(`${opType}: ${describe(x.shape)} has no axis ${axis}`);
    }
    const shape = keepDimensions
      ? x.shape.map((dimension, axis) => (reduced.has(axis) ? 1 : dimension))
      : x.shape.filter((_, axis) => !reduced.has(axis));
    return this.#emit(opType, [x, this.#integers(axes)], [shape], { keepdims: Number(keepDimensions) })[0];
  }

  #emit(
    opType: string,
    inputs: readonly Tensor[],
    shapes: readonly Shape[],
    attributes: Attributes = {},
    name?: string,
    type: ElementType = inputs[0].type,
  ): Tensor[] {
    const base = name ?? `${opType}_${this.nodes.length}`;
    const outputs = shapes.map((shape, i) => this.#tensor(i === 0 ? base : `${base}_${i}`, type, shape));
    this.nodes.push({ opType, inputs, outputs, attributes });
    return outputs;
  }

  #tensor(name: string, type: ElementType, shape: Shape): Tensor {
    if (this.#names.has(name)) throw new Error(`the graph has a tensor ${name} already`);
    this.#names.add(name);
    return { name, type, shape };
  }

  #integers(values: readonly number[] | number): Tensor {
    const list = typeof values === 'number' ? [values] : values;
    const shape = typeof values === 'number' ? [] : [values.length];
    return this.#constant('int64', shape, BigInt64Array.from(list, BigInt));
  }

  #constant(
    type: ElementType,
    shape: readonly number[],
    values: Float32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>,
  ): Tensor {
    const key = `${type}${describe(shape)}${Buffer.from(values.buffer).toString('latin1')}`;
    const existing = this.#constants.get(key);
    if (existing) return existing;
    const tensor = this.#tensor(`constant_${this.#constants.size}`, type, shape);
    this.initializers.set(tensor, { values });
    this.#constants.set(key, tensor);
    return tensor;
  }
}

function expectShape(opType: string, tensor: Tensor, shape: Shape): void {
  if (describe(tensor.shape) !== describe(shape)) {
    throw new Error(
      `${opType}: ${tensor.name} has shape ${describe(tensor.shape)}, expected ${describe(shape)}`,
    );
  }
}

function encodeNode({ opType, inputs, outputs, attributes }: Node, used: ReadonlySet<Tensor>) {
  // An optional output that nobody reads is left out, which permits more fusions.
  const last = opType === 'Split' ? outputs.length : outputs.findLastIndex((output) => used.has(output)) + 1;
  return {
    name: outputs[0].name,
    opType,
    domain: RUNTIME_OPERATORS.has(opType) ? RUNTIME_DOMAIN : '',
    input: inputs.map(({ name }) => name),
    output: outputs.slice(0, last).map(({ name }) => name),
    attribute: Object.entries(attributes).map(([name, value]) => encodeAttribute(name, value)),
  };
}

function encodeAttribute(name: string, value: Attributes[string]) {
  if (typeof value === 'string') return { name, type: ATTRIBUTE_TYPE.string, s: Buffer.from(value) };
  if (typeof value !== 'number') return { name, type: ATTRIBUTE_TYPE.ints, ints: value };
  if (FLOAT_ATTRIBUTES.has(name)) return { name, type: ATTRIBUTE_TYPE.float, f: value };
  return { name, type: ATTRIBUTE_TYPE.int, i: value };
}

function encodeInitializer({ name, type, shape }: Tensor, data: InitializerData) {
  const tensor = { name, dataType: DATA_TYPE[type], dims: shape };
  if ('values' in data) return { ...tensor, rawData: new Uint8Array(data.values.buffer) };
  const entries = Object.entries({
    location: data.location,
    offset: data.offset,
    length: data.length,
  });
  return {
    ...tensor,
    dataLocation: EXTERNAL,
    externalData: entries.map(([key, value]) => ({ key, value: String(value) })),
  };
}

function encodeGraph(graph: Record<string, unknown> & { output: readonly unknown[] }): Uint8Array {
  if (graph.output.length === 0) throw new Error('a graph without outputs computes nothing');
  return encodeModel({
    irVersion: IR_VERSION,
    producerName: 'qfae',
    opsetImport: [
      { domain: '', version: OPSET },
      { domain: RUNTIME_DOMAIN, version: 1 },
    ],
    graph: { name: 'qfae', ...graph },
  });
}

/** `outer` are axes in front of the tensor's own. */
function encodeValueInfo({ name, type, shape }: Tensor, outer: readonly string[] = []) {
  const dim = [...outer, ...shape].map((dimension: string | number) =>
    typeof dimension === 'number' ? { dimValue: dimension } : { dimParam: dimension },
  );
  return { name, type: { tensorType: { elemType: DATA_TYPE[type], shape: { dim } } } };
}
