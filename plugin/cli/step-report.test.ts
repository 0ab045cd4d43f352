import { stepReport } from './step-report.ts';

/** What is written of a run of 400 steps of 8 images, each as many seconds long as `seconds` says. */
function written(isTTY: boolean, seconds: (step: number) => number): string[] {
  const lines: string[] = [];
  const report = stepReport(undefined, 8, { isTTY, write: (text: string) => lines.push(text) > 0 });
  for (let step = 0; step < 400; step++) {
    const record = { loss: 1 / (step + 2), gradientNorm: 1, rate: 8e-5, beta1: 0.9, seconds: seconds(step) };
    report({ type: 'step', step, ...record }, 400);
  }
  return lines;
}

test('a line for every hundredth of a run, with loss, rate, images a second and the time that is left', () => {
  const lines = written(false, () => 40);
  expect(lines).toHaveLength(100);
  expect(lines[0]).toBe('step 4 of 400, loss 0.20000, rate 8.00e-5, 0.200 images/s, 4 h 24 min left\n');
  expect(lines.at(-1)).toBe('step 400 of 400, loss 0.0024938, rate 8.00e-5, 0.200 images/s, 0 s left\n');
});

test('what is left follows the last steps', () => {
  const lines = written(false, (step) => (step < 200 ? 1000 : 2));
  expect(lines[74]).toContain('step 300 of 400,');
  expect(lines[74]).toContain(' 4.00 images/s, 3 min left');
});

test('on a terminal, a bar that is written over at each step', () => {
  const lines = written(true, () => 2);
  expect(lines).toHaveLength(400);
  expect(lines[199]).toBe(
    `\r${'█'.repeat(12)}${'░'.repeat(13)} step 200 of 400, loss 0.0049751, rate 8.00e-5, 4.00 images/s, 7 min left\x1b[K`,
  );
  expect(lines.at(-1)).toMatch(/\n$/);
});
