import { readFile, writeFile } from 'node:fs/promises';

/** The largest of this process in bytes, since its start or since `resetLargestResidentMemory` (Linux). */
export function largestResidentMemory(): Promise<number> {
  return memory('VmHWM');
}

/** Counts the largest anew from now on (Linux, proc(5)); returns what there is now. */
export async function resetLargestResidentMemory(): Promise<number> {
  await writeFile('/proc/self/clear_refs', '5');
  return memory('VmRSS');
}

async function memory(which: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8');
  return 1024 * Number(new RegExp(`${which}:\\s+(\\d+)`).exec(status)?.[1]);
}
