import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import type { Archive } from '../archive/archive.ts';
import { DicomWebArchive } from '../archive/dicomweb-archive.ts';
import { viewerConfiguration } from './configuration.ts';
import { viewerFolder } from './install.ts';
import { viewerRouter } from './router.ts';

test('OHIF is told where the node, relayed archives and those that browsers read themselves are found', async () => {
  const data = mkdtempSync(join(tmpdir(), 'qfae-viewer-configuration-'));
  const archives = new Map<string, Archive>(
    ['pacs', 'far', 'near'].map((name) => [
      name,
      new DicomWebArchive({ name, url: 'http://archive.internal/wado', headers: {}, timeoutMs: 1000 }),
    ]),
  );
  const viewer = { roots: { far: 'https://far.example:8443/dicom-web/', near: '/near/dicom-web' } };
  const settings = { data, viewer };
  let signedIn = true;
  const server = express()
    .use((_request, response, next) => {
      if (signedIn) response.locals['identity'] = { name: 'A', roles: ['reader'] };
      next();
    })
    .get('/app-config.js', viewerConfiguration({ settings, archives }))
    .use(viewerRouter(settings))
    .listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    const get = (path: string) => fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
    expect((await get('/app-config.js')).status).toBe(404); // no viewer is installed
    mkdirSync(viewerFolder(data), { recursive: true });
    writeFileSync(join(viewerFolder(data), 'index.html'), '');

    const script = await (await get('/app-config.js')).text();
    const [, json] = /^window\.config = (.*);$/.exec(script)!;
    const { dataSources, defaultDataSourceName } = JSON.parse(json) as {
      dataSources: { sourceName: string; configuration: Record<string, unknown> }[];
      defaultDataSourceName: string;
    };
    expect(defaultDataSourceName).toBe('local');
    const roots = {
      local: '/dicom-web',
      pacs: '/archives/pacs/dicom-web',
      far: 'https://far.example:8443/dicom-web',
      near: '/near/dicom-web',
    };
    expect(dataSources).toMatchObject(
      Object.entries(roots).map(([sourceName, root]) => ({
        sourceName,
        configuration: { qidoRoot: root, wadoRoot: root, wadoUriRoot: root },
      })),
    );
    const policy = (await get('/viewer/far?StudyInstanceUIDs=1.2')).headers.get('content-security-policy');
    expect(policy).toContain("connect-src 'self' data: blob: https://far.example:8443;");

    signedIn = false;
    expect(await (await get('/app-config.js')).text()).toMatch(/^location\.replace\('\/sign-in\.html/);
  } finally {
    server.closeAllConnections();
    server.close();
    for (const archive of archives.values()) await archive.close();
    rmSync(data, { recursive: true });
  }
});
