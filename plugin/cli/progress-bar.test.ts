import { progressBar } from './progress-bar.ts';

/** What is written for these numbers of bytes. */
function written(isTTY: boolean, ...done: number[]): string[] {
  const lines: string[] = [];
  const show = progressBar('mae', { isTTY, write: (text: string) => lines.push(text) > 0 });
  for (const bytes of done) show(bytes, 200e6);
  return lines;
}

test('a line that is written over, only where it changes, and left at the end', () => {
  expect(written(true, 0, 1000, 100e6, 200e6)).toEqual([
    `\rmae ${'░'.repeat(25)} 0 % of 200 MB`,
    `\rmae ${'█'.repeat(12)}${'░'.repeat(13)} 50 % of 200 MB`,
    `\rmae ${'█'.repeat(25)} 100 % of 200 MB\n`,
  ]);
});

test('nothing where there is no terminal', () => {
  expect(written(false, 0, 200e6)).toEqual([]);
});
