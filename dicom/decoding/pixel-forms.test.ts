import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeWith } from '../../fixtures/required-program.ts';
import { pydicom, python } from '../pydicom-reference.ts';
import { FileSource } from '../reading/byte-source.ts';
import { readInstance } from '../reading/part10.ts';
import { decodeFrame } from './frame.ts';
import { readPicture } from './picture.ts';
import { storedValues } from './samples.ts';

/** Files of pixels that few writers write; in `output` what pydicom makes of them, by name and frame. */
const written = `
import os
from pydicom.pixel_data_handlers.util import apply_color_lut, convert_color_space
rng = numpy.random.default_rng(5)
def save(name, pixels, frames=1, big=False, **attributes):
    d = Dataset()
    d.SOPClassUID = '1.2.840.10008.5.1.4.1.1.7'
    d.SOPInstanceUID, d.StudyInstanceUID, d.SeriesInstanceUID = '1.2.3', '1.2', '1.2.4'
    d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = 7, 6, 1, 'MONOCHROME2'
    d.PixelRepresentation = 0
    if frames > 1: d.NumberOfFrames = frames
    for key, value in attributes.items(): setattr(d, key, value)
    d.HighBit = d.BitsStored - 1
    d.PixelData = bytes(pixels) + bytes(len(bytes(pixels)) % 2)
    d['PixelData'].VR = 'OW' if d.BitsAllocated > 8 or big else 'OB'
    d.is_little_endian, d.is_implicit_VR = not big, False
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = '1.2.840.10008.1.2.2' if big else '1.2.840.10008.1.2.1'
    path = os.path.join(input, name + '.dcm')
    d.save_as(path, write_like_original=False)
    return pydicom.dcmread(path)
def depth(bits): return dict(BitsAllocated=bits, BitsStored=bits)
output = {}
mask = rng.integers(0, 2, (5, 7, 6)).astype('u1')
packed = numpy.packbits(mask, bitorder='little')
output['bits'] = save('bits', packed, 5, **depth(1)).pixel_array.tolist()
swapped = numpy.append(packed, numpy.zeros(len(packed) % 2, 'u1')).reshape(-1, 2)[:, ::-1]
save('bits-big-endian', swapped.tobytes(), 5, big=True, **depth(1))
colour = dict(SamplesPerPixel=3, PlanarConfiguration=0)
ybr = rng.integers(16, 236, (7, 6, 3)).astype('u1')
d = save('ybr-full', ybr.tobytes(), PhotometricInterpretation='YBR_FULL', **colour, **depth(8))
output['ybr-full'] = convert_color_space(d.pixel_array, 'YBR_FULL', 'RGB').tolist()
d = save('ybr-planes', ybr.transpose(2, 0, 1).tobytes(), PhotometricInterpretation='YBR_FULL', **{**colour, 'PlanarConfiguration': 1}, **depth(8))
output['ybr-planes'] = convert_color_space(d.pixel_array, 'YBR_FULL', 'RGB').tolist()
pairs = rng.integers(16, 236, (21, 4)).astype('u1')
d = save('ybr-422', pairs.tobytes(), PhotometricInterpretation='YBR_FULL_422', **colour, **depth(8))
output['ybr-422'] = convert_color_space(d.pixel_array, 'YBR_FULL', 'RGB').tolist()
save('ybr-partial', pairs.tobytes(), PhotometricInterpretation='YBR_PARTIAL_422', **colour, **depth(8))
rgb = rng.integers(0, 65536, (7, 6, 3)).astype('<u2')
save('rgb-16', rgb.tobytes(), PhotometricInterpretation='RGB', **colour, **depth(16))
wide = rng.integers(0, 2 ** 24, 42)
triples = wide.astype('<u4').view('u1').reshape(-1, 4)[:, :3]
save('grey-24', triples.tobytes(), **depth(24), RescaleSlope='1', RescaleIntercept='0', WindowCenter=str(2**23), WindowWidth=str(2**24))
twelve = rng.integers(0, 4096, 42)
bits = ((twelve[:, None] >> numpy.arange(12)) & 1).astype('u1')
save('grey-12', numpy.packbits(bits, bitorder='little').tobytes(), **depth(12), WindowCenter='2048', WindowWidth='4096')
output['grey-24'], output['grey-12'] = wide.tolist(), twelve.tolist()
stored = rng.integers(0, 260, (7, 6)).astype('<u2')
def palette(name, bits, segments):
    d = save(name, stored.tobytes(), PhotometricInterpretation='PALETTE COLOR', **depth(16))
    for colour, values in zip(('Red', 'Green', 'Blue'), segments):
        setattr(d, colour + 'PaletteColorLookupTableDescriptor', [256, 2, bits])
        d[colour + 'PaletteColorLookupTableDescriptor'].VR = 'US'
        data = numpy.array(values, '<u2' if bits == 16 else 'u1').tobytes()
        setattr(d, 'Segmented' + colour + 'PaletteColorLookupTableData', data + bytes(len(data) % 2))
    d.save_as(os.path.join(input, name + '.dcm'))
    table = apply_color_lut(d.pixel_array, d)
    output[name] = (table >> (bits - 8)).tolist()
palette('palette-16', 16, [
    [0, 2, 100, 65535, 1, 254, 0],
    [0, 1, 7, 1, 200, 60000, 0, 55, *range(55)],
    [0, 4, 1, 2, 3, 4, 1, 52, 777, 1, 200, 65535]])
# An indirect segment repeats the segments from a byte offset on.
palette('palette-8', 8, [
    [0, 2, 10, 250, 1, 126, 3, 2, 2, 0, 0, 0, 0],
    [0, 1, 7, 1, 200, 60, 0, 55, *range(55)],
    [0, 4, 1, 2, 3, 4, 1, 52, 77, 1, 200, 255]])
`;

describeWith([python, 'dcm2pnm'], 'native pixels in forms that few writers write', () => {
  let folder: string;
  let theirs: Record<string, number[][][]>;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-pixel-forms-'));
    theirs = pydicom(written, folder) as typeof theirs;
  }, 300_000);
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  const file = (name: string): string => join(folder, `${name}.dcm`);
  async function stored(name: string, frame = 1): Promise<number[]> {
    using source = new FileSource(file(name));
    return [...storedValues(await decodeFrame(readInstance(source), frame))];
  }
  async function picture(name: string): Promise<number[]> {
    using source = new FileSource(file(name));
    return [...(await readPicture(readInstance(source), 1)).pixels];
  }
  /** What DCMTK shows, as it is in a PNM file. */
  function dcmtk(name: string, ...options: string[]): number[] {
    const pnm = join(folder, `${name}.pnm`);
    const { status, stderr } = spawnSync('dcm2pnm', [...options, file(name), pnm], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    const bytes = readFileSync(pnm);
    return [...bytes.subarray(bytes.indexOf('255\n') + 4)];
  }
  function expectNear(ours: number[], reference: number[], tolerance = 1): void {
    expect(ours).toHaveLength(reference.length);
    expect(Math.max(...ours.map((value, i) => Math.abs(value - reference[i])))).toBeLessThanOrEqual(
      tolerance,
    );
    expect(new Set(reference).size).toBeGreaterThan(10);
  }

  test('single bits, frames that begin within a byte', async () => {
    for (const name of ['bits', 'bits-big-endian'])
      for (let frame = 1; frame <= 5; frame++)
        expect(await stored(name, frame)).toEqual(theirs['bits'][frame - 1].flat());
    expect(new Set(await picture('bits'))).toEqual(new Set([0, 255]));
  });

  test.each(['ybr-full', 'ybr-planes', 'ybr-422'])('%s becomes RGB as by pydicom', async (name) => {
    expectNear(await picture(name), theirs[name].flat(2));
  });

  test('16 bits of RGB are scaled as by DCMTK', async () => {
    expectNear(await picture('rgb-16'), dcmtk('rgb-16'));
  });

  test('YBR_PARTIAL_422 becomes RGB as by DCMTK, which rounds its coefficients', async () => {
    expectNear(await picture('ybr-partial'), dcmtk('ybr-partial'), 2);
  });

  test.each(['grey-24', 'grey-12'])(
    '%s has the values that were packed, windowed as by DCMTK',
    async (name) => {
      expect(await stored(name)).toEqual(theirs[name]);
      expectNear(await picture(name), dcmtk(name, '+Wi', '1'));
    },
  );

  test.each(['palette-16', 'palette-8'])('%s, segmented, has the colours of pydicom', async (name) => {
    expect(await picture(name)).toEqual(theirs[name].flat(2));
  });
});
