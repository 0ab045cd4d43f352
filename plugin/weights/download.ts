import { mkdir, open, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ReadableStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetch, type Response } from 'undici';
import { hashFile } from '../../inference/file-hash.ts';
import { http1Agent } from '../http/http1-agent.ts';

/** A file as its server describes it before it is fetched. */
export interface RemoteFile {
  readonly url: string;
  /** In bytes. */
  readonly length: number;
  /** Changes with the content. A caller that knows the content's hash can do without. */
  readonly etag?: string;
  /** Where the server states it (the hub does for every weight file). */
  readonly sha256?: string;
  /** Sent to the origin of `url` alone. */
  readonly token?: string;
}

/** Downloads of one file that end without a new byte, until it is given up. */
const FRUITLESS_ATTEMPTS = 4;
const MAX_REDIRECTS = 5;

const dispatcher = http1Agent(300_000);

/**
 * Asks for a file without fetching it. On the Hugging Face hub the answer to HEAD, a redirect to where the file
 * lies, states its size and SHA-256 (`X-Linked-Size`, `X-Linked-ETag`); elsewhere the end of the redirects does
 * (`Content-Length`, `ETag`).
 *
 * @throws Error if the file is not there, not accessible, or not described.
 */
export async function describeRemote(url: string, token?: string): Promise<RemoteFile> {
  let target = url;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const authorized = new URL(target).origin === new URL(url).origin ? token : undefined;
    const { status, headers } = await request(target, 'HEAD', authorized, {}, 'manual');
    const linked = headers.get('x-linked-etag');
    const location = headers.get('location');
    if (status >= 300 && status < 400 && linked === null) {
      if (location === null) throw new Error(`${target}: a redirect to nowhere`);
      target = new URL(location, target).href;
      continue;
    }
    if (status >= 400) throw new Error(`${url}: ${refusal(status, token)}`);
    const length = Number(headers.get('x-linked-size') ?? headers.get('content-length') ?? NaN);
    const etag = linked ?? headers.get('etag');
    if (!Number.isSafeInteger(length)) throw new Error(`${url}: its size is not stated`);
    const sha256 = /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(linked ?? '')?.[1];
    return {
      url: linked === null ? target : url,
      length,
      ...(etag !== null && { etag }),
      ...(sha256 !== undefined && { sha256 }),
      ...(authorized !== undefined && { token: authorized }),
    };
  }
  throw new Error(`${url}: more than ${MAX_REDIRECTS} redirects`);
}

/**
 * Fetches a file to `path`, going on where an earlier try left `path` (the caller names it by the file's ETag or hash).
 * What is there when this returns has the stated length and SHA-256; if it is not as stated it is removed, if the
 * connection broke for good it stays for the next try.
 *
 * @param needed free space wanted on the disk beside the file, in bytes.
 * @returns the SHA-256 of the file.
 */
export async function download(
  remote: RemoteFile,
  path: string,
  needed: number,
  progress: (done: number) => void,
): Promise<string> {
  const { url, length, sha256 } = remote;
  await mkdir(dirname(path), { recursive: true });
  let done = await sizeOf(path);
  await expectSpace(dirname(path), length - done + needed);

  for (let fruitless = 0; done !== length;) {
    if (done > length) {
      await rm(path);
      throw new Error(`${url}: sent more than the ${length} bytes it stated`);
    }
    let failure: unknown;
    try {
      await append(remote, path, done, progress);
      failure = new Error('the connection ended early');
    } catch (error) {
      if (error instanceof RefusedError) throw error;
      failure = error;
    }
    const now = await sizeOf(path);
    if (now === length) break;
    fruitless = now > done ? 0 : fruitless + 1;
    if (fruitless === FRUITLESS_ATTEMPTS) {
      throw new Error(`${url}: broke off after ${now} of ${length} bytes; run it again to go on`, {
        cause: failure,
      });
    }
    done = now;
    await sleep(100 * 2 ** fruitless);
  }

  const actual = await hashFile(path);
  if (sha256 !== undefined && actual !== sha256) {
    await rm(path);
    throw new Error(`${url}: its SHA-256 is ${actual}, the server states ${sha256}`);
  }
  return actual;
}

/** An answer that another try will not change. */
class RefusedError extends Error {
  override name = 'RefusedError';
}

/** Appends what the server sends from byte `from` on; starts over where it cannot resume. */
async function append(
  { url, etag, length, token, sha256 }: RemoteFile,
  path: string,
  from: number,
  progress: (done: number) => void,
): Promise<void> {
  // With a SHA-256 the ETag is the hub's, which the storage behind it does not know.
  const range = {
    range: `bytes=${from}-`,
    ...(sha256 === undefined && etag !== undefined && { 'if-range': etag }),
  };
  const response = await request(url, 'GET', token, from > 0 ? range : {}, 'follow');
  const { status, headers } = response;
  const body = response.body as ReadableStream<Uint8Array> | null;
  if (status >= 400 && status < 500 && ![408, 429].includes(status)) {
    if (status === 416) await rm(path, { force: true });
    throw new RefusedError(`${url}: ${refusal(status, token)}`);
  }
  if (!response.ok || !body) throw new Error(`answered ${status}`);
  const resumed = status === 206;
  if (resumed && headers.get('content-range') !== `bytes ${from}-${length - 1}/${length}`) {
    await body.cancel();
    await rm(path, { force: true });
    throw new Error('answered with another range than was asked for');
  }
  let done = resumed ? from : 0;
  await using file = await open(path, resumed ? 'a' : 'w');
  for await (const chunk of body) {
    await file.writeFile(chunk);
    done += chunk.length;
    progress(done);
    if (done > length) return;
  }
}

/**
 * fetch, without a body to be decompressed: lengths and hashes are those of the file. It is undici's own, as Node's
 * (undici 7) ends the process where a server closes the connection before a slow disk has taken what it sent.
 */
async function request(
  url: string,
  method: string,
  token: string | undefined,
  headers: Record<string, string>,
  redirect: 'manual' | 'follow',
): Promise<Response> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  try {
    return await fetch(url, {
      method,
      redirect,
      dispatcher,
      headers: { 'accept-encoding': 'identity', ...authorization, ...headers },
    });
  } catch (error) {
    throw new Error(`${new URL(url).host} cannot be reached`, { cause: error });
  }
}

function refusal(status: number, token: string | undefined): string {
  if (status === 401 || status === 403) {
    return token === undefined
      ? 'needs an access token: set HF_TOKEN'
      : 'the access token in HF_TOKEN has no access to it';
  }
  return status === 404 ? 'no such file' : `the server answered ${status}`;
}

async function expectSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < bytes) {
    throw new Error(`${folder}: ${bytes} bytes are needed, ${bavail * bsize} are free`);
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
