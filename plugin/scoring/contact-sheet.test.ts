import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { ScoredSlice } from '../../dicom/result.ts';
import { ContactSheet } from './contact-sheet.ts';

/** A slice of one grey value, with a map that draws nothing over it. */
function slice(grey: number, rows: number, columns: number) {
  const score = { rawScore: 0, pValue: 1, percentile: 0, threshold: 1, flagged: false };
  return {
    scored: { score } as ScoredSlice,
    heatmap: {
      ...{ rows, columns, pixels: new Uint8Array(rows * columns).fill(grey), mapThreshold: 1 },
      ...{ map: new Float32Array(4), mapRows: 2, mapColumns: 2 },
      gridToSlice: [columns / 2, 0, 0, 0, rows / 2, 0] as const,
    },
  };
}

test('slices stand in order, row by row, each whole in its place', async () => {
  const sheet = new ContactSheet('Test');
  const file = join(mkdtempSync(join(tmpdir(), 'qfae-sheet-')), 'sheet.png');
  await expect(sheet.write(file)).rejects.toThrow('needs a slice');
  const greys = [40, 80, 120, 160, 200];
  for (const grey of greys) await sheet.add(slice(grey, 200, 100));
  await sheet.write(file);

  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
  expect([info.width, info.height]).toEqual([3 * 164 + 4, 2 * 164 + 4]);
  const greyAt = (row: number, column: number) => data[info.channels * (row * info.width + column)];
  greys.forEach((grey, i) => {
    // The middle of the tile: between the text above and below, left of the colour scale.
    const [row, column] = [4 + Math.floor(i / 3) * 164 + 80, 4 + (i % 3) * 164 + 80];
    expect(Math.abs(greyAt(row, column) - grey)).toBeLessThan(3);
    expect(greyAt(row, column - 50)).toBeLessThan(25); // a tall slice leaves room at its sides
  });
  rmSync(join(file, '..'), { recursive: true });
});
