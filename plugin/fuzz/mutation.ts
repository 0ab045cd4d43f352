import { deflateRawSync } from 'node:zlib';
import type { Random } from '../../fixtures/random.ts';
import { metaEnd } from './seed-files.ts';

/** Where an element's or item's header and value stand in a file. */
interface Place {
  tag: string;
  at: number;
  vr: string;
  lengthAt: number;
  lengthSize: 2 | 4;
  valueAt: number;
  length: number;
}

const undefinedLength = 0xffffffff;
const implicitSyntax = '1.2.840.10008.1.2\0';
const longVRs = new Set(['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV']);
const vrs = [
  ...longVRs,
  ...'AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US ZZ'.split(' '),
  '\0\0',
];
const lengths = [
  0,
  1,
  2,
  3,
  4,
  5,
  8,
  0x7fff,
  0xfffe,
  0xffff,
  0x10000,
  0x7fffffff,
  0x80000000,
  0xfffffffe,
  undefinedLength,
];
const words = [0, 1, 2, 3, 7, 8, 15, 16, 17, 32, 64, 255, 256, 4096, 0x7fff, 0x8000, 0xfffe, 0xffff];
/** Rows, Columns, Samples per Pixel, Planar Configuration, Bits Allocated, Bits Stored, High Bit, representation. */
const sizeTags = [
  '00280002',
  '00280006',
  '00280010',
  '00280011',
  '00280100',
  '00280101',
  '00280102',
  '00280103',
];
const texts = [
  '9'.repeat(16),
  '-1',
  '0',
  '1e308',
  '1e-320',
  'NaN',
  '0.0',
  '\\\\\\\\',
  '2147483646',
  '\x1b$)B\xff\x1b(J',
  '',
];

/** Changes a file in place or returns another one. */
type Mutation = (file: Buffer, places: Place[], random: Random) => Buffer;

/** Each kind of damage by its name. */
export const mutations: Record<string, Mutation> = {
  length(file, places, random) {
    const place = pick(places, random);
    const value = random() < 0.3 ? place.length + Math.floor(random() * 9) - 4 : pick(lengths, random);
    if (place.lengthSize === 2) file.writeUInt16LE(value & 0xffff, place.lengthAt);
    else file.writeUInt32LE(value >>> 0, place.lengthAt);
    return file;
  },
  vr(file, places, random) {
    const place = pick(places, random);
    if (place.vr !== '') file.write(pick(vrs, random), place.at + 4, 'latin1');
    return file;
  },
  tag(file, places, random) {
    const [from, to] = [pick(places, random), pick(places, random)];
    file.copy(file, to.at, from.at, from.at + 4);
    return file;
  },
  size(file, places, random) {
    const place = pick(
      places.filter(({ tag }) => sizeTags.includes(tag)),
      random,
    );
    if (place && place.length >= 2) file.writeUInt16LE(pick(words, random), place.valueAt);
    return file;
  },
  value(file, places, random) {
    const place = pick(
      places.filter(({ length }) => length > 0 && length < 65536),
      random,
    );
    if (!place) return file;
    const value = random() < 0.5 ? Buffer.from(pick(texts, random), 'latin1') : bytes(random, place.length);
    file.fill(0x20, place.valueAt, place.valueAt + place.length);
    value.copy(file, place.valueAt, 0, place.length);
    return file;
  },
  /** In fragments and the offset table, and in the codestreams' own headers. */
  codestream(file, places, random) {
    const place = pick(places.slice(-6), random);
    const reach = Math.min(place.length, random() < 0.7 ? 80 : place.length);
    for (let count = 1 + Math.floor(random() * 4); count > 0 && reach > 0; count--)
      file[place.valueAt + Math.floor(random() * reach)] = Math.floor(random() * 256);
    return file;
  },
  /** Rows and Columns that agree in the data set and the codestream: the decoder believes them. */
  bomb(file, places, random) {
    for (const [tag, old] of [
      ['00280010', 16],
      ['00280011', 24],
    ] as const) {
      const size = pick([1, 17, 4096, 16384, 65535], random);
      const pixelsAt = places.find((place) => place.tag === '7FE00010')?.valueAt ?? file.length;
      const place = places.find((each) => each.tag === tag);
      if (place) file.writeUInt16LE(size, place.valueAt);
      for (
        let at = file.indexOf(Buffer.from([0, old]), pixelsAt);
        at >= 0;
        at = file.indexOf(Buffer.from([0, old]), at + 2)
      )
        if (at < pixelsAt + 120) file.writeUInt16BE(size, at);
    }
    return file;
  },
  /** A whole number of zeros, in a data set that says that it is deflated. */
  inflation(file, _places, random) {
    const content = Buffer.alloc(Math.floor(random() * 2 ** 24), random() < 0.5 ? 0 : 0x41);
    return Buffer.concat([file.subarray(0, metaEnd(file)), deflateRawSync(content, { level: 1 })]);
  },
  /** A data set that nothing precedes; to be the last damage, for nothing finds its way in it any more. */
  headless(file) {
    return file.subarray(metaEnd(file));
  },
  frames(file, places, random) {
    const place = places.find(({ tag }) => tag === '00280008');
    if (!place) return file;
    const value = Buffer.from(pick(texts, random), 'latin1');
    file.writeUIntLE(value.length, place.lengthAt, place.lengthSize);
    const rest = file.subarray(place.valueAt + place.length);
    return Buffer.concat([file.subarray(0, place.valueAt), value, rest]);
  },
  nesting(file, places, random) {
    const { at } = pick(places, random);
    const deep = pick([1, 60, 70, 3000, 50_000], random);
    const open = Buffer.from('08004011' + '53510000ffffffff' + 'feff00e0ffffffff', 'hex');
    return inserted(file, at, Buffer.concat(Array.from({ length: deep }, () => open)));
  },
  cut(file, _places, random) {
    return file.subarray(0, Math.floor(random() * file.length));
  },
  removal(file, _places, random) {
    const at = Math.floor(random() * file.length);
    return Buffer.concat([file.subarray(0, at), file.subarray(at + 1 + Math.floor(random() * 64))]);
  },
  insertion(file, places, random) {
    const copied = pick(places, random);
    const piece =
      random() < 0.5
        ? file.subarray(copied.at, copied.valueAt + Math.min(copied.length, 2 ** 12))
        : bytes(random, 64);
    return inserted(file, pick(places, random).at, piece);
  },
  flips(file, _places, random) {
    const reach = random() < 0.5 ? file.length : Math.min(file.length, 2048);
    for (let count = 1 + Math.floor(random() * 16); count > 0; count--)
      file[Math.floor(random() * reach)] ^= 1 << Math.floor(random() * 8);
    return file;
  },
};

/** A copy of `file` with one to three mutations, and their names. */
export function mutated(file: Buffer, random: Random): { bytes: Buffer; names: string[] } {
  const names = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
    pick(Object.keys(mutations), random),
  );
  let bytes: Buffer = Buffer.from(file);
  for (const name of names) {
    const places = placesIn(bytes);
    if (places.length > 8) bytes = mutations[name](bytes, places, random);
  }
  return { bytes, names };
}

/** Element and item headers as far as the file can be followed; sequences are entered. */
function placesIn(file: Buffer): Place[] {
  const places: Place[] = [];
  if (file.length < 300) return places;
  const dataSet = metaEnd(file);
  const implicit = file.subarray(132, dataSet).includes(implicitSyntax);
  let at = 132;
  while (at + 12 <= file.length) {
    const tag = Buffer.from(file.subarray(at, at + 4))
      .swap16()
      .toString('hex')
      .toUpperCase();
    const vr =
      tag.startsWith('FFFE') || (implicit && at >= dataSet) ? '' : file.toString('latin1', at + 4, at + 6);
    const lengthSize = vr === '' || longVRs.has(vr) ? 4 : 2;
    const lengthAt = at + (vr === '' ? 4 : lengthSize === 4 ? 8 : 6);
    const length = lengthSize === 4 ? file.readUInt32LE(lengthAt) : file.readUInt16LE(lengthAt);
    const valueAt = lengthAt + lengthSize;
    const entered = vr === 'SQ' || length === undefinedLength;
    if (!entered && valueAt + length > file.length) break;
    places.push({ tag, at, vr, lengthAt, lengthSize, valueAt, length: entered ? 0 : length });
    at = entered || isDataSetItem(file, tag, valueAt) ? valueAt : valueAt + length;
  }
  return places;
}

/** An item that holds elements, in contrast to a fragment: an even group of a known kind follows. */
function isDataSetItem(file: Buffer, tag: string, valueAt: number): boolean {
  return (
    tag === 'FFFEE000' && valueAt + 2 <= file.length && [0x0008, 0x0028].includes(file.readUInt16LE(valueAt))
  );
}

function inserted(file: Buffer, at: number, piece: Buffer): Buffer {
  return Buffer.concat([file.subarray(0, at), piece, file.subarray(at)]);
}

function bytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
}

function pick<T>(choices: readonly T[], random: Random): T {
  return choices[Math.floor(random() * choices.length)];
}
