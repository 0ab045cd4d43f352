import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { identifier } from '../access/guard.ts';
import type { Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import { Metrics } from '../metrics/metrics.ts';
import { until } from '../../fixtures/until.ts';
import { settingsSchema } from '../settings.ts';
import { createHttpServer, type ServerContext } from './server.ts';

let folder: string;
const servers: Server[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-limits-'));
});

afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true });
});

/** The HTTP service with nothing behind it; returns its port. */
async function serve(given: object): Promise<number> {
  const settings = settingsSchema.parse({ data: folder, ...given });
  const server = createHttpServer({
    settings,
    authentication: false,
    identify: identifier({ settings }),
    limits: settings.limits,
    archives: new Map(),
    metrics: new Metrics({} as Database, { provider: 'cpu', precision: 'float32' }),
    log: createLog('silent'),
  } as unknown as ServerContext);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const ask = (port: number, address?: string) =>
  fetch(`http://127.0.0.1:${port}/healthz`, {
    headers: address === undefined ? {} : { 'x-forwarded-for': address },
  });

test('an address that asks too often has to wait, whatever it says it is', async () => {
  const port = await serve({ limits: { requestsPerMinute: 5 } });
  for (let i = 0; i < 5; i++) expect((await ask(port, `10.0.0.${i}`)).status).toBe(200);
  const refused = await ask(port, '10.0.0.9');
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(60);
  expect(refused.headers.get('content-type')).toContain('application/problem+json');
});

test('behind a proxy, each address that it asks for is counted alone', async () => {
  const port = await serve({ http: { behindProxy: true }, limits: { requestsPerMinute: 2 } });
  for (const [address, statuses] of [
    ['10.0.0.1', [200, 200, 429]],
    ['10.0.0.2', [200, 200, 429]],
    // The proxy appends whom it heard: what its client claims before that does not count.
    ['10.9.9.9, 10.0.0.2', [429]],
  ] as const) {
    for (const status of statuses)
      expect([address, (await ask(port, address)).status]).toEqual([address, status]);
  }
});

test('more connections than allowed are closed at once; when one ends, another is served', async () => {
  const port = await serve({ limits: { connections: 2 } });
  const open = async () => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  const answered = async (socket: Socket) => {
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    const closed = once(socket, 'close');
    socket.write('GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n');
    await closed;
    return /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1];
  };
  const held = [await open(), await open()];
  expect(await answered(await open())).toBeUndefined();
  expect(await answered(held[0])).toBe('200');
  // A connection ends at its two ends one after the other.
  const count = promisify(servers.at(-1)!.getConnections.bind(servers.at(-1)!));
  await until('the server to see its end', async () => (await count()) === 1);
  expect(await answered(await open())).toBe('200');
  held[1].destroy();
});
