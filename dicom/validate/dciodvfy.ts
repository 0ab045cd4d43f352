import { spawn } from 'node:child_process';
import type { Finding } from './finding.ts';

/**
 * What dciodvfy (dicom3tools) finds in a file: modules, attributes and values against the object's IOD.
 *
 * @returns undefined where dciodvfy is not installed
 * @throws Error if it could not be run to its end
 */
export async function dciodvfyFindings(path: string): Promise<Finding[] | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Finding[] | undefined>();
  const run = spawn('dciodvfy', [path], { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  run.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  run.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') resolve(undefined);
    else reject(error);
  });
  run.on('close', (_status, signal) => {
    if (signal) reject(new Error(`dciodvfy was ended by ${signal}`));
    else resolve(findingsIn(output));
  });
  return promise;
}

/** Values in angle brackets may be a patient's: they are left out. */
function findingsIn(output: string): Finding[] {
  return output.split('\n').flatMap((line): Finding[] => {
    const [, severity, message] = /^(Error|Warning) - (.*)$/.exec(line) ?? [];
    if (severity === undefined) return [];
    return [
      {
        source: 'dciodvfy',
        severity: severity === 'Error' ? 'error' : 'warning',
        position: '',
        message: message.replace(/(?<!(Element|Module|attribute|Attribute) ?=?)<[^>]*>/g, '<…>').trim(),
      },
    ];
  });
}
