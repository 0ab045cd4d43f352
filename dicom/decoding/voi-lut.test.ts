import { describeWith } from '../../fixtures/required-program.ts';
import type { DicomJson } from '../dicom-json.ts';
import { pydicom, python } from '../pydicom-reference.ts';
import { modalityTransform } from './modality-lut.ts';
import { voiTransform, windowTransform, type VoiLutFunction } from './voi-lut.ts';

/** An error with these fields. */
const refusal = (fields: object): Error => expect.objectContaining(fields) as Error;

const us = (...Value: number[]) => ({ vr: 'US', Value });

describe('window functions (PS3.3 C.11.2.1.2)', () => {
  test("LINEAR: the standard's examples, output 0 to 255", () => {
    // C.11.2.1.2.1: center 2048, width 4096 is the identity of 12 bits, center 0 and width 1 a threshold.
    const identity = windowTransform({ center: 2048, width: 4096 });
    for (const x of [0, 1, 2048, 4094, 4095]) expect(4095 * identity(x)).toBeCloseTo(x, 9);
    const narrow = windowTransform({ center: 2048, width: 1 });
    expect([2047, 2048].map(narrow)).toEqual([0, 1]);
    const hundred = windowTransform({ center: 0, width: 100 });
    expect([-50, 49, -51, 50].map(hundred)).toEqual([0, 1, 0, 1]);
  });

  test('LINEAR_EXACT and SIGMOID by hand', () => {
    const exact = windowTransform({ center: 2048, width: 4096, voiLutFunction: 'LINEAR_EXACT' });
    expect([0, 1024, 2048, 4096, 5000].map(exact)).toEqual([0, 0.25, 0.5, 1, 1]);
    const sigmoid = windowTransform({ center: 10, width: 4, voiLutFunction: 'SIGMOID' });
    expect(sigmoid(10)).toBe(0.5);
    expect(sigmoid(11)).toBeCloseTo(1 / (1 + Math.exp(-1)), 15);
  });

  test('a width that the function does not allow is refused', () => {
    for (const [width, name] of [
      [0.5, 'LINEAR'],
      [0, 'LINEAR_EXACT'],
      [-1, 'SIGMOID'],
      [Number.NaN, 'LINEAR'],
    ] as [number, VoiLutFunction][])
      expect(() => windowTransform({ center: 0, width, voiLutFunction: name })).toThrow(
        refusal({ reason: 'malformed', tag: '00281051' }),
      );
  });

  test('an unknown VOI LUT Function is refused', () => {
    const attributes = { '00281050': us(1), '00281051': us(2), '00281056': { vr: 'CS', Value: ['CUBIC'] } };
    expect(() => voiTransform(attributes)).toThrow(refusal({ reason: 'unsupported' }));
  });
});

const signedValues = Array.from({ length: 600 }, (_, i) => i * 7 - 2000);

describeWith([python], 'pydicom', () => {
  test.each(['LINEAR', 'LINEAR_EXACT', 'SIGMOID'])('%s is what apply_voi_lut computes', (voiLutFunction) => {
    const reference = pydicom(
      `
from pydicom.pixel_data_handlers.util import apply_modality_lut, apply_voi_lut
d = Dataset()
d.PhotometricInterpretation = 'MONOCHROME2'
d.BitsStored, d.PixelRepresentation = 16, 1
d.RescaleSlope, d.RescaleIntercept = '2.5', '-1000'
d.WindowCenter, d.WindowWidth, d.VOILUTFunction = ['40.5', '3'], ['1500', '4'], input['function']
hu = apply_modality_lut(numpy.array(input['values'], 'int16'), d)
low, high = -32768 * 2.5 - 1000, 32767 * 2.5 - 1000
output = {'hu': hu.tolist(), 'display': ((apply_voi_lut(hu, d) - low) / (high - low)).tolist()}
`,
      { function: voiLutFunction, values: signedValues },
    ) as { hu: number[]; display: number[] };
    const attributes: DicomJson = {
      '00281052': { vr: 'DS', Value: [-1000] },
      '00281053': { vr: 'DS', Value: [2.5] },
      '00281050': { vr: 'DS', Value: [40.5, 3] },
      '00281051': { vr: 'DS', Value: [1500, 4] },
      '00281056': { vr: 'CS', Value: [voiLutFunction] },
    };
    const modality = signedValues.map(modalityTransform(attributes));
    expect(modality).toEqual(reference.hu);
    const display = modality.map(voiTransform(attributes)!);
    display.forEach((value, i) => {
      expect(value).toBeCloseTo(reference.display[i], 9);
    });
    expect(new Set(display).size).toBeGreaterThan(80);
  });

  test.each([
    [10, 'US'],
    [16, 'US'],
    [8, 'US'],
    [12, 'OW'],
  ] as const)('modality LUT, and VOI LUT with %d bits, in %s are what pydicom looks up', (bits, vr) => {
    const count = 200;
    const entries = Array.from({ length: count }, (_, i) => (i * 37) % 2 ** bits);
    // Both ends are clipped. (pydicom's index of an 8-bit LUT wraps at 256.)
    const values = Array.from({ length: 350 }, (_, i) => i - 100);
    const reference = pydicom(
      `
from pydicom.pixel_data_handlers.util import apply_modality_lut, apply_voi_lut
def item(first, bits):
    i = Dataset()
    i.is_little_endian = True
    i.add_new(0x00283002, 'SS', [len(input['entries']), first, bits])
    words = numpy.array(input['entries'], '<u2')
    i.add_new(0x00283006, input['vr'], words.tobytes() if input['vr'] == 'OW' else words.tolist())
    return i
d = Dataset()
d.is_little_endian = True
d.ModalityLUTSequence = pydicom.Sequence([item(-50, 16)])
d.VOILUTSequence = pydicom.Sequence([item(20, input['bits']), item(0, 16)])
raw = numpy.array(input['values'], 'int16')
output = [apply_modality_lut(raw, d).tolist(), apply_voi_lut(raw, d, index=0).tolist()]
`,
      { bits, vr, entries, values },
    ) as [number[], number[]];
    const data = Buffer.from(Uint16Array.from(entries).buffer).toString('base64');
    const item = (first: number, entryBits = 16): DicomJson => ({
      '00283002': { vr: 'SS', Value: [count, first, entryBits] },
      '00283006': vr === 'OW' ? { vr, InlineBinary: data } : us(...entries),
    });
    const attributes: DicomJson = {
      '00283000': { vr: 'SQ', Value: [item(-50)] },
      '00283010': { vr: 'SQ', Value: [item(20, bits), item(0)] },
      // A VOI LUT comes before a window.
      '00281050': us(1),
      '00281051': us(1),
    };
    expect(values.map(modalityTransform(attributes))).toEqual(reference[0]);
    const voi = voiTransform(attributes)!;
    expect(values.map((value) => Math.round(voi(value) * (2 ** bits - 1)))).toEqual(reference[1]);
  });
});

test('LUT Data shorter than its descriptor is refused', () => {
  const attributes: DicomJson = {
    '00283000': { vr: 'SQ', Value: [{ '00283002': us(4, 0, 8), '00283006': us(1, 2, 3) }] },
  };
  expect(() => modalityTransform(attributes)).toThrow(refusal({ reason: 'truncated', tag: '00283006' }));
});

test('0 entries stand for 65536, and the number is unsigned whatever the VR', () => {
  const data = Buffer.alloc(131072);
  data.writeUInt16LE(777, 131070);
  const attributes: DicomJson = {
    '00283000': {
      vr: 'SQ',
      Value: [
        {
          '00283002': { vr: 'SS', Value: [0, -32768, 16] },
          '00283006': { vr: 'OW', InlineBinary: data.toString('base64') },
        },
      ],
    },
  };
  expect([32766, 32767, 40000].map(modalityTransform(attributes))).toEqual([0, 777, 777]);
});
