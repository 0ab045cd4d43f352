import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { fuzz } from './fuzz.ts';

/** `npm run fuzz`: reads damaged DICOM files until something breaks. Exit 1 if something did. */
const options = new Command('fuzz')
  .description('read seeded mutations of valid DICOM files; none may end, block or swell the process')
  .option('--cases <n>', 'how many', '2000')
  .option('--seed <n>', 'of the mutations', '1')
  .option('--from <n>', 'number of the first case', '0')
  .option('--keep <dir>', 'write the files that failed there')
  .parse()
  .opts<{ cases: string; seed: string; from: string; keep?: string }>();

const { failures, ...report } = await fuzz({
  cases: Number(options.cases),
  seed: Number(options.seed),
  from: Number(options.from),
  timeoutMs: 5000,
});
for (const { bytes, ...failure } of failures) {
  console.error(JSON.stringify(failure));
  if (options.keep !== undefined) {
    await mkdir(options.keep, { recursive: true });
    await writeFile(join(options.keep, `case-${failure.case}.dcm`), bytes);
  }
}
console.log(JSON.stringify({ ...report, failures: failures.length }));
process.exitCode = failures.length === 0 ? 0 : 1;
