import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DicomPool } from '../../dicom/pool.ts';
import { brainStudy } from '../../fixtures/brain-study.ts';
import { writeCRImage, writeCTSeries, writeMRSeries } from '../../fixtures/dicom-series.ts';
import { segmentationFile } from '../../fixtures/segmentation.ts';
import { taskProfile, type Profile } from '../../inference/bundle/profiles.ts';
import { selectSeries, type CandidateSeries, type SelectedSeries } from './series-selection.ts';
import { readSlices } from './series-slices.ts';

let folder: string;
const pool = new DicomPool({ threads: 2 });
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfae-selection-'));
});
afterAll(async () => {
  await pool.close();
  await rm(folder, { recursive: true });
});

async function candidates(...series: string[][]): Promise<CandidateSeries[]> {
  return Promise.all(
    series.map(async (paths) => {
      const instances = await Promise.all(
        paths.map(async (path) => ({ path, header: await pool.readHeader(path) })),
      );
      return {
        seriesInstanceUID: instances[0].header.seriesInstanceUID,
        sopClassUIDs: instances.map(({ header }) => header.sopClassUID),
        read: () => Promise.resolve(instances),
      };
    }),
  );
}

/** Files of a series in a folder of their own. */
let folders = 0;
const next = () => join(folder, String(++folders));
const paths = (written: { path: string }[]) => written.map(({ path }) => path);

const select = async (profile: Profile, ...series: string[][]) =>
  selectSeries(pool, profile, await candidates(...series));

function selected(selection: Awaited<ReturnType<typeof select>>): SelectedSeries {
  if ('reason' in selection) throw new Error(selection.reason);
  return selection;
}

/** Axial FLAIR by its name; 4 mm pixels and slices keep it quick. */
const mr = async (anatomy: 'head' | 'brain', slices = 40) =>
  paths(
    await writeMRSeries(
      next(),
      brainStudy({ seed: 5, anatomy, rows: 64, columns: 64, pixelSpacing: 4, sliceSpacing: 4, slices }),
      { name: `${anatomy} ${slices}`, attributes: { SeriesDescription: 'Ax FLAIR' } },
    ),
  );

describe('a brain profile', () => {
  const profile: Profile = { ...taskProfile('brain-mri'), maxSlices: 9 };

  test('sees the brain of a whole head, between the percentiles of the brain', async () => {
    const series = selected(await select(profile, await mr('head')));
    expect(series.slices).toHaveLength(9);
    const truth = brainStudy({
      ...{ seed: 5, rows: 64, columns: 64, pixelSpacing: 4, sliceSpacing: 4, slices: 40 },
    });
    let [both, sum, bright] = [0, 0, 0];
    let i = 0;
    for await (const { mask, pixels } of readSlices(pool, series)) {
      const slice = series.slices[i++].index;
      mask!.forEach((inside, p) => {
        const brain = truth.pixels[slice * 64 * 64 + p] > 0 ? 1 : 0;
        both += inside & brain;
        sum += inside + brain;
        bright += inside === 1 && pixels[p] === 255 ? 1 : 0;
      });
    }
    expect((2 * both) / sum).toBeGreaterThan(0.9);
    // Half a percent is above the 99.5th percentile.
    expect(bright / both).toBeGreaterThan(0.001);
    expect(bright / both).toBeLessThan(0.02);
    expect(series.notScored.map(({ reason }) => reason)).toContain('more than the 9 that are scored');
  }, 300_000);

  test('takes a stripped series as it is, without its black slices', async () => {
    const files = await mr('brain');
    const series = selected(await select({ ...profile, maxSlices: null }, files));
    expect(series.maskOf).toBeUndefined();
    const black = series.notScored.find(({ reason }) => reason === 'without brain');
    expect(series.slices.length + (black?.slices ?? 0)).toBe(40);
  });

  test('does not score few slices, unless the profile says so', async () => {
    const files = await mr('head', 5);
    expect(await select(profile, files)).toEqual({
      reason: expect.stringContaining('5 slices over 16 mm, at least 10 over 60 mm are needed') as string,
    });
    const preprocessing = { ...profile.preprocessing, notIsolated: 'accept' } as const;
    const series = selected(await select({ ...profile, preprocessing }, files));
    expect(series.remarks).toEqual([expect.stringContaining('scored as it is: the brain cannot be told')]);
  });
});

describe('a chest profile', () => {
  const profile = taskProfile('chest-xray');
  const view = async (ViewPosition: string | undefined, seriesNumber: number, more = {}) => [
    (
      await writeCRImage(next(), {
        name: 'chest',
        seriesNumber,
        attributes: { ViewPosition, ...more },
      })
    ).path,
  ];

  test('takes the frontal view, not the lateral one, and one of no view only where it has to', async () => {
    const [lateral, unknown, frontal] = [await view('LL', 1), await view(undefined, 2), await view('PA', 3)];
    const series = selected(await select(profile, lateral, unknown, frontal));
    expect(series.instances[0].path).toBe(frontal[0]);
    expect(series.grey).toEqual({});
    const without = selected(await select(profile, lateral, unknown));
    expect(without.instances[0].path).toBe(unknown[0]);
    expect(without.notScored).toMatchObject([{ reason: 'view LL, not PA or AP' }]);
  });

  test('passes over what is too small for a legible picture, and says so', async () => {
    const cr = { name: 'chest', seriesNumber: 2 }; // its UID is the first
    const small = [(await writeCRImage(next(), { ...cr, rows: 23, columns: 60 })).path];
    const reason = '1 slices: 60 × 23 pixels; no fewer than 44 × 24 are scored';
    expect(await select(profile, small)).toEqual({ reason: expect.stringContaining(reason) as string });
    const large = await view('PA', 1);
    const series = selected(await select(profile, small, large));
    expect([series.instances[0].path, series.notScored]).toMatchObject([large[0], [{ slices: 1 }]]);
    const smallest = [(await writeCRImage(next(), { ...cr, rows: 24, columns: 44 })).path];
    expect(selected(await select(profile, smallest)).instances[0].path).toBe(smallest[0]);
  });

  test('refuses another body part and another modality, and says so', async () => {
    const hand = await view('PA', 4, { BodyPartExamined: 'HAND' });
    const ct = paths(await writeCTSeries(next(), { slices: 2 }));
    const selection = await select(profile, hand, ct);
    expect(selection).toEqual({
      reason: expect.stringMatching(
        /modality CT, not CR or DX; .*body part HAND, not CHEST or THORAX or LUNG/,
      ) as string,
    });
  });
});

describe('a liver profile', () => {
  const profile = taskProfile('liver-ct');

  /** A Segmentation of an ellipse on planes of 1 mm pixels, 10 mm apart, in the space of the CT pattern. */
  async function ellipse(changes: Record<string, unknown> = {}, segment: Record<string, unknown> = {}) {
    const [rows, columns] = [128, 160];
    const mask = Uint8Array.from({ length: rows * columns }, (_, i) => {
      const [x, y] = [(i % columns) - 80, Math.floor(i / columns) - 64];
      return (x / 40) ** 2 + (y / 25) ** 2 < 1 ? 1 : 0;
    });
    const bytes = segmentationFile({
      ...{ name: 'Pattern', rows, columns, pixelSpacing: 1, thickness: 10 },
      positions: [0, 10].map((z) => [-80, -64, z] as const),
      masks: [mask, mask],
      segment: {
        SegmentedPropertyTypeCodeSequence: [
          { CodeValue: '10200004', CodingSchemeDesignator: 'SCT', CodeMeaning: 'Liver' },
        ],
        ...segment,
      },
      attributes: changes,
    });
    const path = `${next()}.dcm`;
    await writeFile(path, bytes);
    return [path];
  }

  test('sees what a Segmentation marks, on the grid of the slices and by their positions', async () => {
    // 64 × 80 pixels of 2 mm from (−80, −64), at z = 0, 5, 10, 15, 20.
    const ct = paths(await writeCTSeries(next(), { slices: 5 }));
    const series = selected(await select(profile, ct, await ellipse()));
    // z = 20 is beyond half a distance of planes from the last one.
    expect(series.slices.map(({ position }) => position)).toEqual([0, 5, 10, 15]);
    expect(series.notScored).toContainEqual(expect.objectContaining({ slices: 1, reason: 'without liver' }));
    // Another Segmentation would give another result.
    expect(series.sourceUIDs).toHaveLength(5 + 1);
    expect(series.grey).toEqual({ window: { center: 40, width: 400 } });
    for await (const { mask, rows, columns, geometry } of readSlices(pool, series)) {
      expect([rows, columns]).toEqual([64, 80]);
      const [x0, y0] = geometry!.imagePositionPatient;
      const expected = Uint8Array.from({ length: rows * columns }, (_, i) => {
        const [x, y] = [x0 + 2 * (i % columns), y0 + 2 * Math.floor(i / columns)];
        return (x / 40) ** 2 + (y / 25) ** 2 < 1 ? 1 : 0;
      });
      expect(mask).toEqual(expected);
    }
  });

  test('says why there is no liver to see', async () => {
    const ct = paths(await writeCTSeries(next(), { slices: 3 }));
    const reasonWith = async (...segmentations: string[][]) => {
      const selection = await select(profile, ct, ...segmentations);
      return 'reason' in selection ? selection.reason : 'none';
    };
    const spleen = { SegmentLabel: 'Spleen', SegmentedPropertyTypeCodeSequence: [] };
    expect(await reasonWith()).toContain('and the study has no Segmentation');
    expect(await reasonWith(await ellipse({}, spleen))).toContain('it has no such segment');
    const elsewhere = await ellipse({ FrameOfReferenceUID: '1.2.3' });
    expect(await reasonWith(elsewhere)).toContain('it lies in another space');
    const fractional = await ellipse({ SegmentationType: 'FRACTIONAL' });
    expect(await reasonWith(fractional)).toContain('it is of type FRACTIONAL, not BINARY');
    expect(await reasonWith(await ellipse(), await ellipse({ ContentLabel: 'B' }))).toContain(
      '2 Segmentations',
    );
    const byName = { SegmentLabel: 'Liver', SegmentedPropertyTypeCodeSequence: [] };
    expect(await reasonWith(await ellipse({}, byName))).toBe('none');
  });
});

test('a study that fits nothing, and one without images', async () => {
  expect(await select(taskProfile('retinal-oct'), paths(await writeCTSeries(next(), { slices: 2 })))).toEqual(
    {
      reason: expect.stringContaining('2 slices: modality CT, not OPT') as string,
    },
  );
  expect(await select(taskProfile('retinal-oct'))).toEqual({ reason: 'the study holds no images' });
});
