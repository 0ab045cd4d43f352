import { open } from 'node:fs/promises';

/** Longest single read; Node limits one to 2 GiB. */
const CHUNK = 2 ** 30;

/** The bytes from `offset` on, of which there must be `length`. */
export async function readRange(
  path: string,
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  await using file = await open(path);
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(bytes, done, Math.min(length - done, CHUNK), offset + done);
    if (bytesRead === 0)
      throw new Error(`${path} ends at byte ${offset + done}, ${length - done} are missing`);
    done += bytesRead;
  }
  return bytes;
}
