import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GOLDEN_FOLDER } from '../../fixtures/golden.ts';
import { until } from '../../fixtures/until.ts';
import { listWeights } from '../../inference/weights/store.ts';
import { published } from './catalogue.ts';
import { hubFromEnvironment, pullWeights } from './pull.ts';

const weights = {
  name: 'dino-vit-tiny',
  from: { repository: 'timm/vit_tiny.dino', file: 'model.safetensors' },
  licence: 'Apache-2.0',
};
const RESOLVE = '/timm/vit_tiny.dino/resolve/main/model.safetensors';

let file: Buffer;
let sha256: string;
let root: string;
let hub: Server;
let storage: Server;
/** Requests as `METHOD path range`, in order; those to the storage begin with `storage`. */
let log: string[];
/** How the two servers deviate from what the hub does. */
let fault: {
  hub?: (request: IncomingMessage, response: ServerResponse) => boolean;
  storage?: (request: IncomingMessage, response: ServerResponse) => boolean;
  sha256?: string;
};
let seen: [done: number, total: number][];
const progress = (done: number, total: number) => void seen.push([done, total]);

beforeEach(async () => {
  file = await readFile(join(GOLDEN_FOLDER, 'weights', 'dino_b8_raw.pth'));
  sha256 = createHash('sha256').update(file).digest('hex');
  root = await mkdtemp(join(tmpdir(), 'pull-'));
  [log, fault, seen] = [[], {}, []];
  storage = await listening((request, response) => {
    const { range } = request.headers;
    log.push(`storage ${request.method ?? ''} ${range ?? 'all'}`);
    expect(request.headers.authorization).toBeUndefined();
    if (fault.storage?.(request, response)) return;
    sendRange(request, response);
  });
  hub = await listening((request, response) => {
    log.push(`${request.method ?? ''} ${request.url ?? ''}`);
    if (fault.hub?.(request, response)) return;
    if (request.url !== RESOLVE) return void response.writeHead(404).end();
    response
      .writeHead(302, {
        location: `${address(storage)}/lfs`,
        'x-linked-size': file.length,
        'x-linked-etag': `"${fault.sha256 ?? sha256}"`,
        etag: '"of the redirect"',
      })
      .end();
  });
});
afterEach(async () => {
  for (const server of [hub, storage]) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
  await rm(root, { recursive: true });
});

async function listening(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function address(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The file from the byte that `Range` names; cut off when `bytes` have been taken. */
function sendRange(request: IncomingMessage, response: ServerResponse, bytes = Infinity): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const range = from > 0 && { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` };
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': file.length - from, etag: '"v1"', ...range });
  if (from + bytes >= file.length) response.end(file.subarray(from));
  else {
    response.write(file.subarray(from, from + bytes));
    void until('the bytes that were sent', () => seen.at(-1)?.[0] === from + bytes).then(() =>
      response.destroy(),
    );
  }
}

const pull = (token?: string) => pullWeights(root, weights, { endpoint: address(hub), token }, progress);

/** What lies in the folder of weights, without what a download left to be resumed. */
const stored = () => readdirSync(join(root, 'weights')).filter((name) => name !== '.downloads');
const partial = () => readdirSync(join(root, 'weights', '.downloads'));

test('fetches from where the hub redirects to, imports, and does not fetch again', async () => {
  const [pulled] = await pull('secret');
  expect(pulled).toMatchObject({
    content: 'encoder',
    source: address(hub) + RESOLVE,
    sourceSha256: sha256,
    licence: 'Apache-2.0',
  });
  expect(log).toEqual([`HEAD ${RESOLVE}`, `GET ${RESOLVE}`, 'storage GET all']);
  expect(seen.at(-1)).toEqual([file.length, file.length]);
  expect([stored().length, partial()]).toEqual([2, []]);
  expect(await pull()).toEqual([pulled]);
  expect(log.slice(3)).toEqual([`HEAD ${RESOLVE}`]);
});

test('goes on where the connection broke', async () => {
  fault.storage = (request, response) => {
    if (log.length > 5) return false;
    sendRange(request, response, 30_000);
    return true;
  };
  await pull();
  const ranges = log.filter((line) => line.startsWith('storage'));
  expect(ranges).toEqual(['storage GET all', 'storage GET bytes=30000-', 'storage GET bytes=60000-']);
});

test('a later try goes on where an earlier one was given up', async () => {
  let sent = 0;
  fault.storage = (request, response) => {
    if (sent++ === 0) sendRange(request, response, 50_000);
    else response.destroy();
    return true;
  };
  await expect(pull()).rejects.toThrow(`broke off after 50000 of ${file.length} bytes`);
  expect([stored(), partial().length]).toEqual([[], 1]);
  fault = {};
  await pull();
  expect(log.at(-1)).toBe('storage GET bytes=50000-');
  expect(partial()).toEqual([]);
});

test('starts over where the server does not resume', async () => {
  fault.storage = (request, response) => {
    delete request.headers.range;
    sendRange(request, response, log.length < 4 ? 40_000 : Infinity);
    return true;
  };
  expect(await pull()).toMatchObject([{ sourceSha256: sha256 }]);
});

test.each([
  [
    'another file of the same length',
    () => (fault.sha256 = 'f'.repeat(64)),
    new RegExp(`its SHA-256 is [0-9a-f]{64}, the server states f{64}`),
  ],
  [
    'more than it stated',
    () =>
      (fault.storage = (_, response) => {
        response.writeHead(200).end(Buffer.concat([file, file]));
        return true;
      }),
    /sent more than the \d+ bytes it stated/,
  ],
])('keeps nothing when the server sends %s', async (_, arrange, message) => {
  arrange();
  await expect(pull()).rejects.toThrow(message);
  expect([stored(), partial()]).toEqual([[], []]);
});

test('another range than was asked for is not taken: the file is fetched anew', async () => {
  fault.storage = (request, response) => {
    if (request.headers.range !== undefined) {
      response.writeHead(206, { 'content-range': `bytes 0-9/${file.length}` }).end('0123456789');
    } else {
      sendRange(request, response, log.length < 4 ? 30_000 : Infinity);
    }
    return true;
  };
  expect(await pull()).toMatchObject([{ sourceSha256: sha256 }]);
  const ranges = log.filter((line) => line.startsWith('storage'));
  expect(ranges).toEqual(['storage GET all', 'storage GET bytes=30000-', 'storage GET all']);
});

test('a server that fails for a moment is asked again', async () => {
  fault.storage = (_, response) => {
    if (log.length > 3) return false;
    response.writeHead(503).end();
    return true;
  };
  expect(await pull()).toMatchObject([{ sourceSha256: sha256 }]);
});

test.each([
  [401, undefined, 'needs an access token: set HF_TOKEN'],
  [403, 'secret', 'the access token in HF_TOKEN has no access to it'],
  [404, undefined, 'no such file'],
  [500, undefined, 'the server answered 500'],
])('says what %d means', async (status, token, message) => {
  fault.hub = (_, response) => {
    response.writeHead(status).end();
    return true;
  };
  const error: unknown = await pull(token).catch((error: unknown) => error);
  expect((error as Error).message).toBe(`${address(hub)}${RESOLVE}: ${message}`);
});

test('the token opens a gated file, and goes to the hub alone', async () => {
  fault.hub = (request, response) => {
    if (request.headers.authorization === 'Bearer secret') return false;
    response.writeHead(401).end();
    return true;
  };
  await expect(pull()).rejects.toThrow('set HF_TOKEN');
  expect(await pull('secret')).toHaveLength(1);
});

test('follows a repository that was renamed', async () => {
  fault.hub = (request, response) => {
    if (request.url !== '/timm/old/resolve/main/model.safetensors') return false;
    response.writeHead(307, { location: RESOLVE }).end();
    return true;
  };
  const old = { ...weights, from: { ...weights.from, repository: 'timm/old' } };
  const [pulled] = await pullWeights(root, old, { endpoint: address(hub) }, progress);
  expect(pulled.sourceSha256).toBe(sha256);
});

test('a hub that redirects in circles, and one without a SHA-256, are refused', async () => {
  fault.hub = (_, response) => {
    response.writeHead(302, { location: RESOLVE }).end();
    return true;
  };
  await expect(pull()).rejects.toThrow('more than 5 redirects');
  fault.hub = (request, response) => {
    sendRange(request, response);
    return true;
  };
  await expect(pull()).rejects.toThrow('the hub states no SHA-256');
});

test('a URL: its length and ETag hold, its SHA-256 is recorded', async () => {
  let whole = false;
  fault.storage = (request, response) => {
    if (request.method === 'HEAD') return false;
    expect(request.headers['if-range']).toBe(whole ? '"v1"' : undefined);
    sendRange(request, response, whole ? Infinity : 30_000);
    whole = true;
    return true;
  };
  const url = `${address(storage)}/dino.pth`;
  const [pulled] = await pullWeights(
    root,
    { name: 'dino', from: { url }, licence: 'x' },
    { endpoint: address(hub) },
    progress,
  );
  expect(pulled).toMatchObject({ source: url, sourceSha256: sha256 });
  expect(await listWeights(root)).toEqual([pulled]);
});

test('more than the disk holds is not begun', async () => {
  fault.hub = (_, response) => {
    response
      .writeHead(302, { location: '/', 'x-linked-size': 2 ** 52, 'x-linked-etag': `"${sha256}"` })
      .end();
    return true;
  };
  await expect(pull()).rejects.toThrow(/bytes are needed, \d+ are free/);
  expect(log).toHaveLength(1);
});

test('what is no weight file is not kept', async () => {
  file = Buffer.from('<html>not a weight file</html>');
  sha256 = createHash('sha256').update(file).digest('hex');
  await expect(pull()).rejects.toThrow('neither a PyTorch zip archive nor a legacy PyTorch file');
  expect([stored(), partial()]).toEqual([[], []]);
});

test('the environment names the hub', () => {
  expect(hubFromEnvironment({})).toEqual({ endpoint: 'https://huggingface.co', token: undefined });
  expect(hubFromEnvironment({ HF_ENDPOINT: 'https://mirror.example/', HF_TOKEN: 'secret' })).toEqual({
    endpoint: 'https://mirror.example',
    token: 'secret',
  });
});

test('every published file has a licence and an address of its publisher', () => {
  for (const { from, licence } of Object.values(published)) {
    expect(licence).toMatch(/^(Apache-2\.0|MIT|CC-BY-NC-4\.0)/);
    if ('url' in from) expect(from.url).toMatch(/^https:\/\/dl\.fbaipublicfiles\.com\/.+\.pth$/);
    else expect(from.repository).toMatch(/^(timm|laion|ebayar)\//);
  }
});
