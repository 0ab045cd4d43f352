import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GOLDEN_FOLDER } from '../fixtures/golden.ts';
import { oneCycle } from './one-cycle.ts';

interface Tables {
  max_lr: number;
  by_total_steps: Record<string, [number, number, number][]>;
}

test('rates and β₁ are those of the official scheduler', async () => {
  const text = await readFile(join(GOLDEN_FOLDER, 'onecycle_tables.json'), 'utf8');
  const { max_lr, by_total_steps } = JSON.parse(text) as Tables;
  let compared = 0;
  for (const [total, rows] of Object.entries(by_total_steps)) {
    const schedule = { maximumRate: max_lr, totalSteps: Number(total) };
    // PyTorch's scheduler can be asked for one step more than it has; that step is never trained with.
    for (const [step, rate, beta1] of rows.filter(([step]) => step < Number(total))) {
      const actual = oneCycle(schedule, step);
      expect(Math.abs(actual.rate / rate - 1)).toBeLessThan(1e-9);
      expect(Math.abs(actual.beta1 - beta1)).toBeLessThan(1e-12);
      compared += 1;
    }
  }
  expect(compared).toBeGreaterThan(30);
});

test('a step beyond the schedule is refused', () => {
  const schedule = { maximumRate: 1e-3, totalSteps: 10 };
  expect(() => oneCycle(schedule, 10)).toThrow("step 10 is not one of the schedule's 10");
  expect(() => oneCycle(schedule, -1)).toThrow('step -1');
});
