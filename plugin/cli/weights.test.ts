import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GOLDEN_FOLDER } from '../../fixtures/golden.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-weights-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const golden = (name: string) => join(GOLDEN_FOLDER, 'weights', `${name}.pth`);

/** Runs `qfae weights`. */
function weights(words: string[], environment: Record<string, string> = {}) {
  const script = new URL('qfae.ts', import.meta.url).pathname;
  const env = { PATH: process.env['PATH'], QFAE_DATA: join(folder, 'data'), ...environment };
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(
      process.execPath,
      [script, 'weights', ...words],
      { env, cwd: folder },
      (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
      },
    );
  });
}

const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('import stores the parts of a checkpoint, and list shows them', async () => {
  const { code, stdout } = await weights(['import', golden('model'), '--licence', 'MIT', '--json']);
  expect(code).toBe(0);
  expect(lines(stdout)).toMatchObject([
    { type: 'weights', content: 'encoder', prefix: 'encoders.0.model.', source: 'model.pth', licence: 'MIT' },
    { type: 'weights', content: 'head', prefix: '', source: 'model.pth', licence: 'MIT' },
  ]);
  expect((await weights(['list'])).stdout).toContain('encoder dim 64, 5 blocks, patch 14  model.pth');
});

test('import resamples an encoder where that is asked for', async () => {
  const sizes = ['--image-size', '64', '--patch-size', '32'];
  const { stdout } = await weights(['import', golden('mae_raw'), ...sizes, '--json']);
  expect(lines(stdout)).toMatchObject([{ vit: { patchSize: 32, positionGrid: 2 } }]);
});

test('what cannot be imported ends with 1, wrong usage with 2', async () => {
  const evil = join(folder, 'evil.pth');
  writeFileSync(evil, Buffer.from('\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.', 'latin1'));
  const refused = await weights(['import', evil, '--json']);
  expect([refused.code, refused.stdout]).toEqual([1, '']);
  expect(refused.stderr).toContain(`${evil}: neither a PyTorch zip archive nor a legacy PyTorch file`);
  expect((await weights(['import', evil, '--patch-size', 'x'])).code).toBe(2);
});

test('pull fetches from the hub that HF_ENDPOINT names, with HF_TOKEN', async () => {
  const file = readFileSync(golden('dino_b8_raw'));
  const etag = `"${createHash('sha256').update(file).digest('hex')}"`;
  const server = createServer(({ url, headers }, response) => {
    if (headers.authorization !== 'Bearer secret') response.writeHead(401).end();
    else if (url !== '/timm/vit_base_patch8_224.dino/resolve/main/model.safetensors')
      response.writeHead(404).end();
    else response.writeHead(200, { 'content-length': file.length, 'x-linked-etag': etag }).end(file);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint = { HF_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  try {
    const locked = await weights(['pull', 'dino-vit-b8', '--json'], endpoint);
    expect([locked.code, locked.stderr]).toEqual([1, expect.stringContaining('set HF_TOKEN')]);
    const { code, stdout, stderr } = await weights(['pull', 'dino-vit-b8', '--json'], {
      ...endpoint,
      HF_TOKEN: 'secret',
    });
    expect([code, stderr]).toEqual([0, 'dino-vit-b8: licence Apache-2.0\n']);
    expect(lines(stdout)).toMatchObject([{ content: 'encoder', name: 'dino-vit-b8', licence: 'Apache-2.0' }]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
