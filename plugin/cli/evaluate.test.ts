import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { ensureUntrained } from '../../inference/bundle/untrained.ts';
import { Scorer } from '../../inference/scorer.ts';
import { DicomPool } from '../../dicom/pool.ts';
import { writeCTSeries } from '../../fixtures/dicom-series.ts';
import { segmentationFile } from '../../fixtures/segmentation.ts';
import { PixelMetricsAccumulator } from '../../training/metrics/pixel-metrics.ts';
import { dicomStudies, readableStudy } from '../scoring/readable-study.ts';
import { filesIn } from './score.ts';

/** The untrained model's grid: maps then lie on pictures pixel by pixel. */
const SIDE = 112;
/** Pictures of each class, two of each patient. */
const COUNT = 6;

let folder: string;
let data: string;
let scores: { abnormal: boolean; rawScore: number }[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-evaluate-'));
  data = join(folder, 'data');
  for (const name of ['good', 'Ungood'])
    mkdirSync(join(folder, 'bmad', 'test', name, 'img'), { recursive: true });
  await ensureUntrained(data);
  const scorer = await Scorer.open(data, 'untrained');
  const pictures = Array.from({ length: 2 * COUNT }, (_, i) => disc(i));
  const maps: Float32Array[] = [];
  scores = [];
  for await (const { rawScore, map } of scorer.score(
    pictures.map((pixels) => ({ pixels, rows: SIDE, columns: SIDE })),
  )) {
    scores.push({ abnormal: scores.length >= COUNT, rawScore });
    maps.push(map);
  }
  await scorer.close();

  const everywhere = Float32Array.from(maps.flatMap((map) => [...map])).sort();
  const limit = everywhere[Math.floor(0.97 * everywhere.length)];
  mkdirSync(join(folder, 'bmad', 'test', 'Ungood', 'label'));
  mkdirSync(join(folder, 'bmad', 'test', 'good', 'label'));
  for (const [i, pixels] of pictures.entries()) {
    const ofClass = join(folder, 'bmad', 'test', i < COUNT ? 'good' : 'Ungood');
    const name = `patient${Math.floor((i % COUNT) / 2)}_slice${i % COUNT}.png`;
    await write(join(ofClass, 'img', name), pixels);
    // As if the abnormal pixels were those that the maps show: every pixel metric is then 1.
    await write(
      join(ofClass, 'label', name),
      Uint8Array.from(maps[i], (value) => (value > limit ? 255 : 0)),
    );
  }
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function disc(i: number): Uint8Array {
  return Uint8Array.from({ length: SIDE * SIDE }, (_, j) => {
    const [x, y] = [(j % SIDE) / SIDE - 0.5, Math.floor(j / SIDE) / SIDE - 0.5];
    if (i >= COUNT && Math.abs(x - 0.1) < 0.1 && Math.abs(y) < 0.02 * (i - COUNT)) return 250;
    return x * x + y * y < 0.04 + 0.01 * i ? 90 + 5 * i + ((j * 7) % 13) : 10;
  });
}

async function write(path: string, pixels: Uint8Array): Promise<void> {
  await sharp(pixels, { raw: { width: SIDE, height: SIDE, channels: 1 } })
    .png()
    .toFile(path);
}

function evaluate(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const script = new URL('qfae.ts', import.meta.url).pathname;
  const env = { PATH: process.env['PATH'], QFAE_BUNDLE: 'untrained', QFAE_DATA: data };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [script, 'evaluate', ...words],
      { env, cwd: folder },
      (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
      },
    );
  });
}

/** The probability that an abnormal picture scores higher, by its definition. */
function pairwiseAuroc(): number {
  const normal = scores.filter(({ abnormal }) => !abnormal);
  const abnormal = scores.filter((score) => score.abnormal);
  const wins = abnormal.flatMap((a) =>
    normal.map((n) => (a.rawScore > n.rawScore ? 1 : a.rawScore < n.rawScore ? 0 : 0.5)),
  );
  return wins.reduce<number>((sum, win) => sum + win, 0) / wins.length;
}

describe('qfae evaluate', () => {
  test('measures a data set in the layout of BMAD, and draws', async () => {
    const { code, stdout, stderr } = await evaluate(
      'bmad',
      '--json',
      '--out',
      'out',
      '--patient',
      '^patient\\d+',
    );
    expect([code, stderr]).toEqual([0, '']);
    const line = JSON.parse(stdout) as {
      image: { auroc: number; aurocInterval: number[] };
      pixel: Record<string, number>;
    };
    expect(line).toEqual({
      type: 'evaluation',
      bundle: expect.stringMatching(/^untrained@/),
      image: {
        auroc: expect.closeTo(pairwiseAuroc(), 9),
        aurocInterval: [expect.any(Number), expect.any(Number)],
        averagePrecision: expect.any(Number),
        averagePrecisionInterval: [expect.any(Number), expect.any(Number)],
      },
      pixel: {
        auroc: expect.closeTo(1, 4),
        averagePrecision: expect.closeTo(1, 2),
        pro: expect.closeTo(1, 2),
      },
      normal: COUNT,
      abnormal: COUNT,
      patients: COUNT / 2,
    });
    expect(line.image.aurocInterval[0]).toBeLessThanOrEqual(line.image.auroc);
    expect(line.image.aurocInterval[1]).toBeGreaterThanOrEqual(line.image.auroc);
    for (const name of ['roc.png', 'histogram.png']) {
      const { width, height } = await sharp(join(folder, 'out', name)).metadata();
      expect([width, height]).toEqual([512, 512]);
      const { dominant, entropy } = await sharp(join(folder, 'out', name)).stats();
      expect(Math.min(dominant.r, dominant.g, dominant.b)).toBeGreaterThan(200);
      expect(entropy).toBeGreaterThan(0.2); // not a blank sheet
    }
  });

  test('two folders and a folder of masks; a mask of another size is refused', async () => {
    const test = join(folder, 'bmad', 'test');
    const two = ['--normal', join(test, 'good', 'img'), '--abnormal', join(test, 'Ungood', 'img'), '--json'];
    const { stdout, stderr } = await evaluate(...two);
    expect(stderr.match(/img: each of \d+ pictures counts as a patient of its own/g)).toEqual(
      Array(2).fill(`img: each of ${COUNT} pictures counts as a patient of its own`),
    );
    const plain = JSON.parse(stdout) as object;
    expect(plain).toMatchObject({
      pixel: null,
      patients: 2 * COUNT,
      image: { auroc: expect.closeTo(pairwiseAuroc(), 9) },
    });

    const masks = join(folder, 'masks');
    cpSync(join(test, 'Ungood', 'label'), masks, { recursive: true });
    rmSync(join(masks, 'patient1_slice2.png')); // missing: no abnormal pixel
    const masked = JSON.parse((await evaluate(...two, '--masks', masks, '--patient-folder')).stdout) as {
      pixel: { auroc: number };
    };
    expect(masked).toMatchObject({ patients: 2 });
    expect(masked.pixel.auroc).toBeGreaterThan(0.9);
    expect(masked.pixel.auroc).toBeLessThan(1);

    await sharp(join(masks, 'patient0_slice0.png')).resize(50, 50).png().toFile(join(masks, 'small.png'));
    cpSync(join(masks, 'small.png'), join(masks, 'patient0_slice0.png'));
    const wrong = await evaluate(...two, '--masks', masks);
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('has 50 × 50 pixels')]);
  });

  test('measures DICOM studies, with Segmentations as ground truth', async () => {
    const [normal, abnormal, masks] = ['normal', 'abnormal', 'marks'].map((name) => join(folder, 'ct', name));
    const grid = { rows: SIDE, columns: SIDE };
    for (const [place, name, slices, WindowCenter] of [
      [normal, 'A', 1, 0],
      [normal, 'B', 2, 100],
      [abnormal, 'C', 1, 200],
      [abnormal, 'D', 4, 300],
    ] as const) {
      await writeCTSeries(join(place, name), { ...grid, name, slices, attributes: { WindowCenter } });
    }
    const pool = new DicomPool({ threads: 1 });
    const scorer = await Scorer.open(data, 'untrained');
    const expected = new PixelMetricsAccumulator();
    const highest: Record<string, number> = {};
    mkdirSync(masks);
    for (const name of ['A', 'B', 'C', 'D']) {
      const files = (await filesIn([join(name < 'C' ? normal : abnormal, name)])).map(({ path }) => path);
      const [instances] = (await dicomStudies(pool, files)).values();
      const study = await readableStudy(pool, scorer.bundle.profile, instances);
      if ('reason' in study) throw new Error(study.reason);
      const marks: Uint8Array[] = [];
      highest[name] = -Infinity;
      for await (const { rawScore, map } of scorer.score(study.slices())) {
        highest[name] = Math.max(highest[name], rawScore);
        // In study D what the maps show, but in its first and last slice alone.
        const limit = map.toSorted()[Math.floor(0.97 * map.length)];
        const marked = name === 'D' && [0, 3].includes(marks.length);
        const mark = Uint8Array.from(map, (value) => (marked && value > limit ? 1 : 0));
        marks.push(mark);
        expected.add(map, mark, SIDE);
      }
      if (name !== 'D') continue;
      const at = (slice: number) => [-SIDE, -SIDE, 5 * slice] as const;
      const planes = { positions: [at(0), at(3)], masks: [marks[0], marks[3]] };
      const file = segmentationFile({ ...grid, ...planes, name, pixelSpacing: 2, thickness: 5 });
      writeFileSync(join(masks, 'd.dcm'), file);
    }
    await scorer.close();
    await pool.close();

    const words = ['--normal', normal, '--abnormal', abnormal, '--json', '--masks', masks];
    const { code, stdout, stderr } = await evaluate(...words);
    expect([code, stderr]).toEqual([0, '']);
    const wins = ['C', 'D'].flatMap((a) =>
      ['A', 'B'].map((n) => Math.sign(highest[a] - highest[n]) / 2 + 0.5),
    );
    const { auroc, averagePrecision, pro } = expected.metrics()!;
    expect(JSON.parse(stdout)).toMatchObject({
      image: { auroc: expect.closeTo(wins.reduce((sum, win) => sum + win, 0) / 4, 9) },
      pixel: {
        auroc: expect.closeTo(auroc, 5),
        averagePrecision: expect.closeTo(averagePrecision, 5),
        pro: expect.closeTo(pro, 5),
      },
      ...{ normal: 2, abnormal: 2, patients: 4 },
    });

    rmSync(join(abnormal, 'D'), { recursive: true });
    const astray = await evaluate(...words);
    expect([astray.code, astray.stderr]).toEqual([
      1,
      expect.stringContaining('is not among the abnormal ones'),
    ]);
  }, 300_000);

  test('says what is wrong', async () => {
    expect((await evaluate()).code).toBe(2);
    expect((await evaluate('--normal', 'x')).code).toBe(2);
    expect((await evaluate('bmad', '--patient', '(')).code).toBe(2);
    expect((await evaluate('bmad', '--patient', 'a', '--patient-folder')).code).toBe(2);
    const name = await evaluate('bmad', '--patient', '^case');
    expect([name.code, name.stderr]).toEqual([1, expect.stringContaining('does not match ^case')]);
    const layout = await evaluate(folder);
    expect([layout.code, layout.stderr]).toEqual([1, expect.stringContaining('has not the layout of BMAD')]);
    mkdirSync(join(folder, 'empty'));
    writeFileSync(join(folder, 'empty', 'notes.txt'), 'x');
    const none = await evaluate('--normal', 'empty', '--abnormal', 'empty');
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('holds no PNG or JPEG picture')]);
    expect(existsSync(join(folder, 'roc.png'))).toBe(false);
  });
});
