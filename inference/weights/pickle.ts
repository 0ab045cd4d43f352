/**
 * Reads the part of Python's pickle format that state dictionaries of tensors need, and executes nothing: names
 * of Python objects are compared with a list, never looked up. Opcodes as in CPython's `Lib/pickletools.py`.
 */

/** A tuple. */
export type PickleTuple = readonly PickleValue[];
/** A list, apart from tuples, which cannot grow. */
export class PickleList {
  readonly items: PickleValue[] = [];
}
/** A `dict` or `OrderedDict`. */
export type PickleDict = Map<string | number, PickleValue>;

export type PickleValue =
  null | boolean | number | bigint | string | PickleTuple | PickleList | PickleDict | PickleObject;

/** Whatever the reader of a pickle makes of its names, calls and persistent IDs. */
export interface PickleObject {
  readonly kind: string;
}

/** What a pickle may name and call. Each function throws what is wrong; the place is added here. */
export interface PickleRules {
  /** What stands for the Python object `<module> <name>`; undefined if the pickle may not name it. */
  resolve(name: string): PickleObject | undefined;
  /** The result of calling what `resolve` returned. */
  call(callable: PickleObject, args: PickleTuple): PickleValue;
  /** What a persistent ID stands for. */
  persistent(id: PickleValue): PickleObject;
}

/** Longest pickle that is read, in bytes; that of a checkpoint of 400 tensors has some 60 000. */
export const MAX_PICKLE = 16 * 2 ** 20;
/** Most opcodes that are followed: bounds the memory that a pickle can claim. A tensor needs about forty. */
const MAX_OPCODES = 200_000;
/** Longest whole number, in bytes; PyTorch's magic number has 10. */
const MAX_LONG = 16;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const MARK = Symbol('mark');
type Slot = PickleValue | typeof MARK;

/**
 * Reads the pickle that begins at `start`.
 *
 * @returns its value and the offset behind it.
 * @throws Error with the offset of the first opcode that is not allowed, not whole, or does not make sense.
 */
export function readPickle(
  bytes: Uint8Array,
  rules: PickleRules,
  start = 0,
): { value: PickleValue; end: number } {
  const reader = new PickleReader(bytes, rules, start);
  try {
    return reader.read();
  } catch (error) {
    throw new Error(`pickle, byte ${reader.offset}: ${(error as Error).message}`, { cause: error });
  }
}

class PickleReader {
  /** Of the opcode that is being followed. */
  offset: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rules: PickleRules;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at: number;

  constructor(bytes: Uint8Array, rules: PickleRules, start: number) {
    this.#bytes = bytes.subarray(0, start + MAX_PICKLE);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, this.#bytes.length);
    this.#rules = rules;
    this.#at = this.offset = start;
  }

  read(): { value: PickleValue; end: number } {
    for (let opcodes = 0; ; opcodes++) {
      this.offset = this.#at;
      if (opcodes === MAX_OPCODES) throw new Error(`more than ${MAX_OPCODES} opcodes`);
      const opcode = this.#take(1)[0];
      if (opcode === STOP) break;
      if (opcode in VALUES) this.#stack.push(VALUES[opcode](this));
      else if (opcode in EFFECTS) EFFECTS[opcode](this);
      else throw new Error(`opcode ${name(opcode)} is not allowed in a file of tensors`);
    }
    const value = this.pop();
    if (this.#stack.length > 0) throw new Error(`STOP leaves ${this.#stack.length} values on the stack`);
    return { value, end: this.#at };
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) {
      throw new Error(
        `ends after ${this.#bytes.length - this.#at} of ${length} bytes (pickles are read up to ${MAX_PICKLE} bytes)`,
      );
    }
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  uint8(): number {
    return this.#take(1)[0];
  }

  uint16(): number {
    const at = this.#at;
    this.#take(2);
    return this.#view.getUint16(at, true);
  }

  int32(): number {
    const at = this.#at;
    this.#take(4);
    return this.#view.getInt32(at, true);
  }

  uint32(): number {
    return this.int32() >>> 0;
  }

  uint64(): number {
    const low = this.uint32();
    return this.uint32() * 2 ** 32 + low;
  }

  float64(): number {
    const at = this.#at;
    this.#take(8);
    return this.#view.getFloat64(at, false);
  }

  /** A little-endian two's complement number; bigint only where a number would not be exact. */
  long(length: number): number | bigint {
    if (length < 0 || length > MAX_LONG) throw new Error(`a whole number of ${length} bytes`);
    const value = this.#take(length).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const signed = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
  }

  text(length: number): string {
    return utf8.decode(this.#take(length));
  }

  line(): string {
    const length = this.#bytes.subarray(this.#at).indexOf(0x0a);
    if (length < 0) throw new Error('ends inside a name');
    const text = this.text(length);
    this.#at++;
    return text;
  }

  pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined) throw new Error('the stack is empty');
    if (value === MARK) throw new Error('a mark where a value is needed');
    return value;
  }

  top(): PickleValue {
    const value = this.pop();
    this.#stack.push(value);
    return value;
  }

  /** The values above the last mark, which goes with them. */
  popMark(): PickleValue[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw new Error('no mark on the stack');
    return this.#stack.splice(mark).slice(1) as PickleValue[];
  }

  /** The last `count` values, oldest first. */
  popTuple(count: number): PickleTuple {
    const values = Array.from({ length: count }, () => this.pop());
    return values.reverse();
  }

  memoize(index = this.#memo.size): void {
    this.#memo.set(index, this.top());
  }

  recall(index: number): PickleValue {
    const value = this.#memo.get(index);
    if (value === undefined) throw new Error(`nothing was stored under ${index}`);
    return value;
  }

  /** A Python object by module and name. */
  global(names: PickleTuple): PickleObject {
    if (!names.every((name) => typeof name === 'string')) throw new Error('a name that is no text');
    const name = names.join(' ');
    const object = this.#rules.resolve(name);
    if (!object) throw new Error(`names ${JSON.stringify(name)}, which is not allowed in a file of tensors`);
    return object;
  }

  reduce(): PickleValue {
    const [callable, args] = this.popTuple(2);
    if (!isObject(callable)) throw new Error('calls something that is no function');
    if (!isTuple(args)) throw new Error('calls with arguments that are no tuple');
    return this.#rules.call(callable, args);
  }

  persistent(): PickleObject {
    return this.#rules.persistent(this.pop());
  }

  /** Attributes of an OrderedDict (a state dictionary's `_metadata`) mean nothing to tensors. */
  build(): void {
    this.pop();
    if (!(this.top() instanceof Map)) throw new Error('BUILD on something that is no OrderedDict');
  }

  append(values: readonly PickleValue[]): void {
    const list = this.top();
    if (!(list instanceof PickleList)) throw new Error('appends to something that is no list');
    for (const value of values) list.items.push(value);
  }

  setItems(pairs: readonly PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof Map)) throw new Error('sets items of something that is no dictionary');
    if (pairs.length % 2 === 1) throw new Error('a key without a value');
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i];
      if (typeof key !== 'string' && typeof key !== 'number')
        throw new Error('a key that is no text or number');
      dict.set(key, pairs[i + 1]);
    }
  }

  protocol(version: number): void {
    if (version > 5) throw new Error(`pickle protocol ${version}`);
  }
}

/** Whether an unpickled value is a tuple. */
export function isTuple(value: PickleValue): value is PickleTuple {
  return Array.isArray(value);
}

/** Whether an unpickled value is what the rules made of a name, a call or a persistent ID. */
export function isObject(value: PickleValue): value is PickleObject {
  return typeof value === 'object' && value !== null && 'kind' in value;
}

const STOP = 0x2e;

/** The opcodes that push a value, and the value that each pushes. */
const VALUES: Readonly<Record<number, (reader: PickleReader) => Slot>> = {
  0x4e: () => null, // NONE
  0x88: () => true, // NEWTRUE
  0x89: () => false, // NEWFALSE
  0x4a: (r) => r.int32(), // BININT
  0x4b: (r) => r.uint8(), // BININT1
  0x4d: (r) => r.uint16(), // BININT2
  0x8a: (r) => r.long(r.uint8()), // LONG1
  0x8b: (r) => r.long(r.int32()), // LONG4
  0x47: (r) => r.float64(), // BINFLOAT
  0x55: (r) => r.text(r.uint8()), // SHORT_BINSTRING
  0x54: (r) => r.text(r.uint32()), // BINSTRING
  0x8c: (r) => r.text(r.uint8()), // SHORT_BINUNICODE
  0x58: (r) => r.text(r.uint32()), // BINUNICODE
  0x8d: (r) => r.text(r.uint64()), // BINUNICODE8
  0x28: () => MARK, // MARK
  0x29: () => [], // EMPTY_TUPLE
  0x85: (r) => r.popTuple(1), // TUPLE1
  0x86: (r) => r.popTuple(2), // TUPLE2
  0x87: (r) => r.popTuple(3), // TUPLE3
  0x74: (r) => r.popMark(), // TUPLE
  0x5d: () => new PickleList(), // EMPTY_LIST
  0x7d: () => new Map(), // EMPTY_DICT
  0x68: (r) => r.recall(r.uint8()), // BINGET
  0x6a: (r) => r.recall(r.uint32()), // LONG_BINGET
  0x63: (r) => r.global([r.line(), r.line()]), // GLOBAL
  0x93: (r) => r.global(r.popTuple(2)), // STACK_GLOBAL
  0x52: (r) => r.reduce(), // REDUCE
  0x51: (r) => r.persistent(), // BINPERSID
};

/** The other allowed opcodes. */
const EFFECTS: Readonly<Record<number, (reader: PickleReader) => unknown>> = {
  0x61: (r) => {
    r.append([r.pop()]);
  }, // APPEND
  0x65: (r) => {
    r.append(r.popMark());
  }, // APPENDS
  0x73: (r) => {
    r.setItems(r.popTuple(2));
  }, // SETITEM
  0x75: (r) => {
    r.setItems(r.popMark());
  }, // SETITEMS
  0x30: (r) => r.pop(), // POP
  0x31: (r) => r.popMark(), // POP_MARK
  0x71: (r) => {
    r.memoize(r.uint8());
  }, // BINPUT
  0x72: (r) => {
    r.memoize(r.uint32());
  }, // LONG_BINPUT
  0x94: (r) => {
    r.memoize();
  }, // MEMOIZE
  0x62: (r) => {
    r.build();
  }, // BUILD
  0x80: (r) => {
    r.protocol(r.uint8());
  }, // PROTO
  0x95: (r) => r.uint64(), // FRAME: how the rest was buffered
};

/** The opcodes that are refused by name; any other byte is none. */
const REFUSED: Readonly<Record<number, string>> = {
  0x32: 'DUP',
  0x46: 'FLOAT',
  0x49: 'INT',
  0x4c: 'LONG',
  0x50: 'PERSID',
  0x53: 'STRING',
  0x56: 'UNICODE',
  0x64: 'DICT',
  0x67: 'GET',
  0x69: 'INST',
  0x6c: 'LIST',
  0x6f: 'OBJ',
  0x70: 'PUT',
  0x42: 'BINBYTES',
  0x43: 'SHORT_BINBYTES',
  0x81: 'NEWOBJ',
  0x82: 'EXT1',
  0x83: 'EXT2',
  0x84: 'EXT4',
  0x8e: 'BINBYTES8',
  0x8f: 'EMPTY_SET',
  0x90: 'ADDITEMS',
  0x91: 'FROZENSET',
  0x92: 'NEWOBJ_EX',
  0x96: 'BYTEARRAY8',
  0x97: 'NEXT_BUFFER',
  0x98: 'READONLY_BUFFER',
};

function name(opcode: number): string {
  return REFUSED[opcode] ?? `0x${opcode.toString(16).padStart(2, '0')}`;
}
