import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyBundle } from '../../inference/bundle/verify.ts';
import { pretrainingModels } from '../../training/pretrain.ts';
import type { Demonstration, KnownStudy } from './demonstration.ts';
import { makeDemonstration } from './make-demonstration.ts';
import { measureDemonstration } from './measure-demonstration.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'demonstration-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Stripes of the patient's own grey; an abnormal study has a second slice, with a white square. */
function stripes(first: number, count: number, kind?: string): KnownStudy[] {
  const side = 32;
  const inSquare = (i: number) => i % side < 12 && i < 12 * side;
  return Array.from({ length: count }, (_, n) => ({
    patient: `${first + n}`,
    study: '1',
    ...(kind !== undefined && { kind }),
    slices: (kind === undefined ? [false] : [false, true]).map((abnormal) => ({
      rows: side,
      columns: side,
      pixels: Uint8Array.from({ length: side * side }, (_, i) =>
        abnormal && inSquare(i) ? 255 : first + n + 20 * Math.floor((i % side) / 5),
      ),
      truth: Uint8Array.from({ length: side * side }, (_, i) => (abnormal && inSquare(i) ? 1 : 0)),
    })),
  }));
}

const demonstration: Demonstration = {
  name: 'stripes-demo',
  note: 'Of stripes.',
  model: pretrainingModels.tiny,
  series: { modalities: ['MR'] },
  reductions: { image: 'max|mean', map: 'mean', study: 'max' },
  pretraining: { epochs: 1, batchSize: 4, maximumRate: 1e-3 },
  training: { epochs: 1, batchSize: 4, maximumRate: 1e-3, loss: 'perceptual' },
  trainingStudies: () => stripes(0, 8),
  calibrationStudies: () => stripes(20, 19),
  calibrationPatients: 19,
  testStudies: () => [...stripes(50, 2), ...stripes(60, 3, 'square')],
};

test('a demonstration is made, says what it scores, and is measured on pictures that evaluate reads', async () => {
  const made = await makeDemonstration(demonstration, folder, 1, new AbortController().signal);
  const root = join(folder, 'data');
  expect(made!.provenance).toMatchObject({ origin: 'trained', calibrationStudies: 19 });
  expect(made!.profile).toMatchObject({ name: 'stripes-demo', series: { modalities: ['MR'] } });
  await verifyBundle(root, made!.id);
  const pictures = join(folder, 'test');
  const results = await measureDemonstration(demonstration, root, made!.id, pictures);
  expect([...results.keys()]).toEqual(['normal', 'square']);
  expect(results.get('normal')).toMatchObject({ studies: 2, scores: { length: 2 } });
  expect(results.get('square')!.scores).toHaveLength(3);
  const files = (await readdir(pictures, { recursive: true })).filter((name) => name.endsWith('.png'));
  expect(files.filter((name) => name.startsWith('normal'))).toHaveLength(2);
  const abnormal = files.filter((name) => name.startsWith(join('abnormal', 'square')));
  expect(abnormal).toEqual(
    ['60-1-1.png', '61-1-1.png', '62-1-1.png'].map((name) => join('abnormal', 'square', name)),
  );
  expect(files.filter((name) => name.startsWith(join('truth', 'square')))).toHaveLength(3);
}, 600_000);
