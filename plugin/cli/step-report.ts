import type { StepRecord } from '../../training/run-log.ts';
import { printJson } from './print-json.ts';

/** Steps whose mean time says how long the others will take. */
const RECENT_STEPS = 20;

/** Tells each step: JSON lines, a bar on a terminal, or a plain line for every hundredth of the run. */
export function stepReport(
  json: true | undefined,
  batchSize: number,
  stream: Pick<NodeJS.WriteStream, 'isTTY' | 'write'> = process.stderr,
): (record: StepRecord, totalSteps: number) => void {
  const recent: number[] = [];
  return (record, totalSteps) => {
    if (json) {
      printJson(record);
      return;
    }
    const { step, loss, rate, seconds } = record;
    recent.push(seconds);
    if (recent.length > RECENT_STEPS) recent.shift();
    const mean = recent.reduce((sum, value) => sum + value) / recent.length;
    const done = step + 1;
    const line = [
      `step ${done} of ${totalSteps}`,
      `loss ${loss.toPrecision(5)}`,
      `rate ${rate.toExponential(2)}`,
      `${(batchSize / mean).toPrecision(3)} images/s`,
      `${remaining(mean * (totalSteps - done))} left`,
    ].join(', ');
    if (stream.isTTY) {
      const bar = '█'.repeat(Math.floor((25 * done) / totalSteps)).padEnd(25, '░');
      // The rest of a longer line before is erased.
      stream.write(`\r${bar} ${line}\x1b[K${done === totalSteps ? '\n' : ''}`);
    } else if (done === totalSteps || done % Math.ceil(totalSteps / 100) === 0) stream.write(`${line}\n`);
  };
}

function remaining(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return `${Math.round(seconds)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
