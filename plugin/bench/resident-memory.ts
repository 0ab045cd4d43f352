import { readFile } from 'node:fs/promises';

/** The largest of this process since its start (Linux). */
export async function largestResidentMemory(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8');
  return 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]);
}
