import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { OrthancArchive } from './orthanc.ts';

/** Orthanc's identifier of the one study that the double holds. */
const id = 'b9c08539-26f93bde-c81ab0d7-bffaf2cb-a4d0bdd0';

let server: Server;
let archive: OrthancArchive;
/** As Orthanc answers it: its own Explorer looks for `HasLabels` there. */
let system: object;
let changes: string[];

beforeAll(async () => {
  server = createServer((request, response) => {
    const { method = '', url } = request;
    const json = (value: object) => response.end(JSON.stringify(value));
    if (url === '/system') json(system);
    else if (url === '/tools/lookup') json([{ ID: id, Path: `/studies/${id}`, Type: 'Study' }]);
    else {
      changes.push(`${method} ${url}`);
      response.end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  archive = new OrthancArchive({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    dicomWebRoot: '/dicom-web',
    pollSeconds: 5,
    timeoutSeconds: 60,
  });
});

beforeEach(() => {
  changes = [];
});

afterAll(async () => {
  await archive.close();
  server.closeAllConnections();
  server.close();
});

const score = { rawScore: 3, pValue: 0.025, percentile: 97.5, threshold: 2, flagged: true };
const noted = `PUT /studies/${id}/metadata/8780`;
const label = `/studies/${id}/labels/qfae-flagged`;

test('a flagged study gets a label, and one that is not flagged any more loses it', async () => {
  system = { ApiVersion: 27, Version: '1.12.6', HasLabels: true, Capabilities: { HasExtendedFind: true } };
  await archive.note('1.2.3', score);
  expect(changes).toEqual([noted, `PUT ${label}`]);
  changes = [];
  await archive.note('1.2.3', { ...score, flagged: false });
  expect(changes).toEqual([noted, `DELETE ${label}`]);
});

test.each([
  ['of a version without labels', { ApiVersion: 17, Version: '1.10.1' }],
  ['on a database without labels', { ApiVersion: 27, Version: '1.12.6', HasLabels: false }],
])('an Orthanc %s gets the metadata alone', async (_kind, answer) => {
  system = answer;
  await archive.note('1.2.3', score);
  expect(changes).toEqual([noted]);
});
