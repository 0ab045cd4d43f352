import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SeriesOptions, writeCRImage, writeCTSeries } from '../../fixtures/dicom-series.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { readGreySlice } from '../decoding/grey-slice.ts';
import type { DicomJson } from '../dicom-json.ts';
import { itemsOf, stringsOf } from '../writing/keyword.ts';
import { MemorySource } from '../reading/byte-source.ts';
import { readInstance } from '../reading/part10.ts';
import type { StudyResult } from '../result.ts';
import { scoredProjection, SOURCES } from '../writing/scored-study.fixture.ts';
import { presentationStates } from './presentation-state.ts';

const SIZE = { rows: 151, columns: 201 };
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-pr-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

const readHeader = (bytes: Uint8Array): DicomJson => readInstance(new MemorySource(bytes)).header.dataset;

/** The result of a slice of 151 × 201 pixels, as if it had been made of another instance. */
function resultOf(header: DicomJson, sopInstanceUID: string): StudyResult {
  const study = scoredProjection();
  const slices = study.slices.map((scored) => ({
    ...scored,
    header,
    slice: { ...scored.slice, sopInstanceUID },
  }));
  return { ...study, slices, sourceUIDs: [sopInstanceUID] };
}

const SHOWN: Record<string, (options: SeriesOptions) => ReturnType<typeof writeCRImage>> = {
  'a CT slice, with rescale and window': async (options) =>
    (await writeCTSeries(folder, { ...SIZE, ...options, slices: 1, name: 'CT' }))[0],
  'a radiograph': (options) => writeCRImage(folder, { ...SIZE, ...options, name: 'CR' }),
  'a radiograph in MONOCHROME1': (options) =>
    writeCRImage(folder, {
      ...SIZE,
      ...options,
      name: 'CR1',
      attributes: { PhotometricInterpretation: 'MONOCHROME1' },
    }),
};

describeWith(['dcmp2pgm'], 'presentation states, as DCMTK renders them', () => {
  test.each(Object.entries(SHOWN))('%s looks as it does to the model', async (_name, write) => {
    const source = await write({});
    const header = readHeader(source.bytes);
    const result = resultOf(header, source.sopInstanceUID);
    const [state, ...others] = presentationStates(result);
    expect(others).toEqual([]);
    const [stateFile, picture, copy] = ['state.dcm', 'picture.pgm', 'copy.dcm'].map((name) =>
      join(folder, name),
    );
    writeFileSync(stateFile, state.bytes);
    execFileSync('dcmp2pgm', ['-p', stateFile, '+S', copy, source.path, picture]);

    const { pixels } = await readGreySlice(readInstance(new MemorySource(source.bytes)), 1);
    const rendered = readFileSync(picture).subarray(-pixels.length);
    const differences = pixels.map((value, i) => Math.abs(value - rendered[i]));
    expect(Math.max(...differences)).toBeLessThanOrEqual(1);
    expect(new Set(pixels).size).toBeGreaterThan(20);

    // What DCMTK understood of the annotations, it wrote into a state of its own.
    const [annotation] = itemsOf(readHeader(readFileSync(copy)), 'GraphicAnnotationSequence');
    const outlines = itemsOf(annotation, 'GraphicObjectSequence');
    const { regions } = result.slices[0];
    expect(outlines).toHaveLength(regions.length);
    expect(outlines.map((outline) => stringsOf(outline, 'GraphicData').map(Number))).toEqual(
      regions.map(({ points }) => [...points, points[0]].flat().map(Math.fround)),
    );
    const [text] = itemsOf(annotation, 'TextObjectSequence');
    expect(stringsOf(text, 'UnformattedTextValue')).toEqual([
      'Slice percentile 99.6, flagged. Not for diagnostic use.',
    ]);
  });
});

test('slices of another rescale have a state of their own, those in colour or with tables none', () => {
  const study = SOURCES['CT volume']();
  const flagged = study.slices.map((scored) => ({ ...scored, score: { ...scored.score, flagged: true } }));
  const rescaled = flagged.map((scored, i) => ({
    ...scored,
    header: i === 0 ? { ...scored.header, '00281053': { vr: 'DS', Value: [2] } } : scored.header,
  }));
  const states = presentationStates({ ...study, slices: rescaled }).map(({ bytes }) => readHeader(bytes));
  expect(states.map((state) => itemsOf(state, 'GraphicAnnotationSequence').length)).toEqual([1, 2]);
  expect(states.map((state) => stringsOf(state, 'RescaleSlope').map(Number))).toEqual([[2], [1]]);

  const tables = flagged.map((scored) => ({
    ...scored,
    header: { ...scored.header, '00283000': { vr: 'SQ', Value: [{}] } },
  }));
  expect(presentationStates({ ...study, slices: tables })).toEqual([]);
  expect(presentationStates(SOURCES['colour photograph']())).toEqual([]);
});

test('of a multi-frame image the reported frame is referenced', () => {
  const [{ bytes }] = presentationStates(SOURCES['multi-frame OCT']());
  const [series] = itemsOf(readHeader(bytes), 'ReferencedSeriesSequence');
  const [image] = itemsOf(series, 'ReferencedImageSequence');
  expect(stringsOf(image, 'ReferencedFrameNumber')).toEqual(['3']);
});
