import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import { hasViewer, installViewerFromFile, viewerFolder } from './install.ts';
import { viewerRouter } from './router.ts';

let data: string;
let server: Server;
let url: string;

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), 'qfae-viewer-'));
  server = createServer(express().use(viewerRouter({ data, viewer: { roots: {} } }))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(data, { recursive: true });
});

test('a file that is not the package is refused, and nothing of it is left', async () => {
  const file = join(data, 'other.tgz');
  writeFileSync(file, 'something else');
  await expect(installViewerFromFile(file, data)).rejects.toThrow(
    /is not @ohif\/app 3\.13\.2: its SHA-512 is/,
  );
  expect(readdirSync(data)).toEqual(['other.tgz']);
});

test('nothing is served before it is installed; then its page and its files', async () => {
  const status = async (path: string) => (await fetch(url + path)).status;
  expect(await status('/viewer')).toBe(404);
  expect(await status('/app-config.js')).toBe(404);

  mkdirSync(viewerFolder(data), { recursive: true });
  writeFileSync(
    join(viewerFolder(data), 'index.html'),
    '<script>first()</script><script src="/a.js"></script>',
  );
  writeFileSync(join(viewerFolder(data), 'a.js'), 'second()');
  writeFileSync(join(viewerFolder(data), 'app-config.js'), 'of another server');
  expect(hasViewer(data)).toBe(true);
  const page = await fetch(`${url}/viewer?StudyInstanceUIDs=1.2.3`);
  expect(await page.text()).toContain('first()');
  // printf 'first()' | openssl dgst -sha256 -binary | base64
  const hash = 'sha256-fDYmfWjvur9AxjhDbjHe6RvExc05MbXhhrbgz2vvy/A=';
  expect(page.headers.get('content-security-policy')).toContain(`'${hash}'`);
  expect(page.headers.get('content-security-policy')).toContain("connect-src 'self' data: blob:;");
  expect(await (await fetch(`${url}/a.js`)).text()).toBe('second()');
  expect(await (await fetch(`${url}/init-service-worker.js`)).text()).toBe('');
  expect(await status('/app-config.js')).toBe(404); // is the node's, for those who are signed in
  expect(await status('/')).toBe(404); // is the dashboard's
  expect(await status('/..%2f..%2fother.tgz')).toBe(404);
});
