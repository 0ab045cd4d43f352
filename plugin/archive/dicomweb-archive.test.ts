import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DicomWebArchive } from './dicomweb-archive.ts';

test('a server that closes the connection behind its answer does no harm to who takes it slowly', async () => {
  const body = Buffer.alloc(64 * 1024, 1);
  const server = createServer((socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`);
      socket.end(body);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const archive = new DicomWebArchive({ name: 'closing', url, headers: {}, timeoutMs: 240_000 });
  try {
    const answer = await archive.get('/studies/1.2', '*/*', new AbortController().signal);
    await sleep(200); // all of it has come, and the end of the connection; undici 7 ended the process here
    expect(body.equals(Buffer.from(await answer.arrayBuffer()))).toBe(true);
  } finally {
    await archive.close();
    server.close();
  }
});
