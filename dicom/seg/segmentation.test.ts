import { describeWith } from '../../fixtures/required-program.ts';
import { mapOnSlice } from '../writing/anomaly-map.ts';
import { pydicom, python } from '../pydicom-reference.ts';
import { type ScoredStudy, SOURCES } from '../writing/scored-study.fixture.ts';
import { joinMasks, maskAboveThreshold } from './bit-mask.ts';
import { segmentation } from './segmentation.ts';

const segmentationOf = (study: ScoredStudy) =>
  segmentation(
    study,
    study.heatmaps.map((heatmap) => maskAboveThreshold(heatmap)),
  );

/** Frames as nested lists, and where they say that they lie and come from. */
function read(bytes: Uint8Array) {
  return pydicom(
    `
import io
data = pydicom.dcmread(io.BytesIO(base64.b64decode(input)))
frames = data.pixel_array.reshape(data.NumberOfFrames, data.Rows, data.Columns)
groups = data.PerFrameFunctionalGroupsSequence
shared = data.SharedFunctionalGroupsSequence[0]
def group(frame, name): return (shared if name in shared else frame)[name].value[0]
output = {
  'frames': [frame.flatten().tolist() for frame in frames],
  'positions': [[float(x) for x in group(frame, 'PlanePositionSequence').ImagePositionPatient] for frame in groups],
  'sources': [group(frame, 'DerivationImageSequence').SourceImageSequence[0].ReferencedSOPInstanceUID for frame in groups],
  'orientation': [float(x) for x in shared.PlaneOrientationSequence[0].ImageOrientationPatient],
  'spacing': [float(x) for x in shared.PixelMeasuresSequence[0].PixelSpacing],
  'pointers': [str(item.DimensionIndexPointer) for item in data.DimensionIndexSequence],
  'label': data.SegmentSequence[0].SegmentLabel,
  'own': [[element.keyword for element in frame] for frame in groups],
}`,
    Buffer.from(bytes).toString('base64'),
  ) as Record<'frames' | 'positions', number[][]> &
    Record<'sources' | 'pointers', string[]> &
    Record<'orientation' | 'spacing', number[]> & { label: string; own: string[][] };
}

describeWith([python], 'segmentations, as pydicom reads them', () => {
  // 71 × 93 pixels are no whole number of bytes: frames begin inside of one.
  for (const name of ['CT volume', 'multi-frame MR volume'] as const) {
    test(`${name}: a frame for each slice above the threshold, where the slice lies`, () => {
      const study = SOURCES[name]();
      const louder = {
        ...study,
        heatmaps: study.heatmaps.map((heatmap, i) => ({
          ...heatmap,
          map: study.heatmaps[i === 0 ? 0 : 1].map,
        })),
      };
      const seg = read(segmentationOf(louder).bytes);
      const marked = louder.slices.slice(1);
      expect(seg.frames).toEqual(
        louder.heatmaps
          .slice(1)
          .map((heatmap) => [...mapOnSlice(heatmap)].map((value) => Number(value > heatmap.mapThreshold))),
      );
      expect(seg.frames[0]).toContain(1);
      expect(seg.sources).toEqual(marked.map(({ slice }) => slice.sopInstanceUID));
      expect(seg.positions).toEqual(marked.map(({ slice }) => slice.geometry!.imagePositionPatient));
      expect(seg.spacing).toEqual(marked[0].slice.geometry!.pixelSpacing);
      seg.orientation.forEach((cosine, i) => {
        expect(cosine).toBeCloseTo(marked[0].slice.geometry!.imageOrientationPatient[i], 9);
      });
      expect(seg.pointers.map((tag) => tag.replace(/[^0-9A-Fa-f]/g, '').toUpperCase())).toEqual([
        '0062000B',
        '00200032',
      ]);
      expect(seg.label).toBe('Anomaly above threshold');
    });
  }

  test('a frame says itself where it lies and what it is of, even if it is the only one', () => {
    const study = SOURCES['MR volume']();
    const heatmaps = study.heatmaps.map((heatmap, i) => ({
      ...heatmap,
      map: study.heatmaps[i === 1 ? 1 : 0].map,
    }));
    const { own } = read(segmentationOf({ ...study, heatmaps }).bytes);
    expect(own).toEqual([['DerivationImageSequence', 'FrameContentSequence', 'PlanePositionSequence']]);
  });

  test('where nothing is above the threshold, every slice has an empty frame', () => {
    const study = SOURCES['MR volume']();
    const quiet = { ...study, heatmaps: study.heatmaps.map(() => study.heatmaps[0]) };
    const { frames } = read(segmentationOf(quiet).bytes);
    expect(frames).toHaveLength(3);
    expect(frames.flat().every((value) => value === 0)).toBe(true);
  });
});

test('masks of any size are joined bit by bit', () => {
  const bits = [1, 0, 1, 1, 0];
  const mask = Uint8Array.of(bits.reduce((byte, bit, i) => byte | (bit << i), 0));
  const joined = joinMasks([mask, mask, mask, mask], 5);
  expect(Array.from({ length: 20 }, (_, i) => (joined[i >> 3] >> (i & 7)) & 1)).toEqual([
    ...bits,
    ...bits,
    ...bits,
    ...bits,
  ]);
});

test('what is no mask, and slices that differ in size, are refused', () => {
  const study = SOURCES['CT volume']();
  const masks = study.heatmaps.map((heatmap) => maskAboveThreshold(heatmap));
  expect(() => segmentation(study, masks.slice(1))).toThrow('mask of rows × columns bits for each slice');
  expect(() => segmentation(study, [...masks.slice(1), new Uint8Array(1)])).toThrow('mask of rows');
  const [first, ...others] = study.slices;
  const geometry = { ...first.slice.geometry!, frameOfReferenceUID: '2.25.1' };
  const elsewhere = { ...first, slice: { ...first.slice, geometry } };
  const empty = masks.map((mask) => mask.map(() => 0));
  expect(() => segmentation({ ...study, slices: [elsewhere, ...others] }, empty)).toThrow(
    'frame of reference',
  );
});
