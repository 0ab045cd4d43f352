import { spawnSync } from 'node:child_process';

/** The Python that has pydicom, which tests compare with; for `describeWith`. */
export const python = '/usr/bin/python3';

/**
 * Runs Python `code` with pydicom and numpy at hand.
 *
 * @param input JSON that the code finds as `input`
 * @returns what the code leaves in `output`
 */
export function pydicom(code: string, input: unknown): unknown {
  const script = [
    'import base64, json, sys, warnings, numpy, pydicom',
    'from pydicom.dataset import Dataset, FileMetaDataset',
    'warnings.simplefilter("ignore")',
    'input = json.load(sys.stdin)',
    code,
    'json.dump(output, sys.stdout)',
  ].join('\n');
  const { status, stdout, stderr } = spawnSync(python, ['-c', script], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
