import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { DicomWebArchive } from '../archive/dicomweb-archive.ts';
import { archiveRelay, archiveRelayPath } from './archive-relay.ts';

const servers: Server[] = [];
let archives: DicomWebArchive[];
/** What the archive was asked, and with what. */
let asked: { path: string; authorization: string | undefined; accept: string | undefined }[];
let url: string;

async function listen(server: Server): Promise<string> {
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeAll(async () => {
  const archive = await listen(
    createServer(({ url: path = '', headers }: IncomingMessage, response) => {
      asked.push({ path, authorization: headers.authorization, accept: headers.accept });
      if (path.includes('/forbidden')) {
        response.writeHead(401, { 'www-authenticate': 'Basic' }).end();
      } else if (path.endsWith('/metadata')) {
        const BulkDataURI = `http://archive.internal:8042/wado/studies/1.2/series/1/instances/1/bulk/1`;
        response.writeHead(200, { 'content-type': 'application/dicom+json' });
        response.end(JSON.stringify([{ '00420011': { vr: 'OB', BulkDataURI } }]));
      } else {
        response.writeHead(206, { 'content-type': 'multipart/related; boundary=b', 'set-cookie': 'a=b' });
        response.end(Buffer.from([0, 255, 10, 13]));
      }
    }),
  );
  const headers = { authorization: 'Basic c2VjcmV0' };
  archives = [
    new DicomWebArchive({ name: 'pacs', url: `${archive}/wado`, headers, timeoutMs: 10_000 }),
    new DicomWebArchive({ name: 'away', url: 'http://127.0.0.1:1', headers, timeoutMs: 10_000 }),
  ];
  const relay = archiveRelay(new Map(archives.map((one) => [one.name, one])));
  url = await listen(createServer(express().get(archiveRelayPath, relay)));
});

beforeEach(() => {
  asked = [];
});

afterAll(async () => {
  await Promise.all(archives.map((archive) => archive.close()));
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

test('what an archive answers comes as it is, asked with the credentials of the node', async () => {
  const answer = await fetch(`${url}/archives/pacs/dicom-web/studies/1.2/series/3/instances/4/frames/1?a=b`, {
    headers: { accept: 'multipart/related' },
  });
  expect(answer.status).toBe(206);
  expect(answer.headers.get('content-type')).toBe('multipart/related; boundary=b');
  expect(answer.headers.get('set-cookie')).toBeNull();
  expect([...new Uint8Array(await answer.arrayBuffer())]).toEqual([0, 255, 10, 13]);
  expect(asked).toEqual([
    {
      path: '/wado/studies/1.2/series/3/instances/4/frames/1?a=b',
      authorization: 'Basic c2VjcmV0',
      accept: 'multipart/related',
    },
  ]);
});

test.each([
  ['image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8', 'image/jpeg'],
  ['image/png', 'image/png'],
  ['*/*', '*/*'],
])('a picture that is asked for as %s is asked for as %s', async (accept, accepted) => {
  await fetch(`${url}/archives/pacs/dicom-web/studies/1.2/series/3/instances/4/rendered`, {
    headers: { accept },
  });
  expect(asked.map((one) => one.accept)).toEqual([accepted]);
});

test('bulk data is named where browsers can reach it', async () => {
  const answer = await fetch(`${url}/archives/pacs/dicom-web/studies/1.2/metadata`);
  expect(await answer.json()).toEqual([
    {
      '00420011': {
        vr: 'OB',
        BulkDataURI: `${url}/archives/pacs/dicom-web/studies/1.2/series/1/instances/1/bulk/1`,
      },
    },
  ]);
});

test('an archive that is away, or lets the node not in, is a bad gateway; no browser is asked for its password', async () => {
  for (const [path, error] of [
    ['away/dicom-web/studies', 'away cannot be asked'],
    ['pacs/dicom-web/studies/forbidden', 'pacs does not let the node read: it answered 401'],
  ]) {
    const answer = await fetch(`${url}/archives/${path}`);
    expect(answer.status).toBe(502);
    expect(answer.headers.get('www-authenticate')).toBeNull();
    expect(await answer.json()).toEqual({ error });
  }
});

test('nothing but studies can be reached', async () => {
  // As it stands: fetch would resolve the dots.
  const statusOf = async (path: string) => {
    const sent = request(`${url}/`, { path: `/archives/${path}` }).end();
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    answer.resume();
    return answer.statusCode;
  };
  for (const path of [
    'pacs/dicom-web/system',
    'pacs/dicom-web/studies/../../system',
    'pacs/dicom-web/studies/%2e%2e/%2e%2e/system',
    'pacs/dicom-web/studies/..%2fsystem',
    'other/dicom-web/studies',
  ]) {
    expect([path, await statusOf(path)]).toEqual([path, 404]);
  }
  expect(asked).toEqual([]);
});
