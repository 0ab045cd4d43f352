import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Express, Router } from 'express';
import { until } from '../../fixtures/until.ts';
import { apiRouter, apiPath } from '../api/router.ts';
import { dicomWebPath, dicomWebRouter } from '../dicomweb/router.ts';
import { createApp, type ServerContext } from '../http/server.ts';
import type { Database } from '../database/database.ts';
import { createLog } from '../log.ts';
import { Metrics } from '../metrics/metrics.ts';
import { settingsSchema } from '../settings.ts';
import { auditFolder } from './audit-log.ts';
import { identifier } from './guard.ts';
import { roles, type Role } from './role.ts';
import { routeRoles, type Access } from './route-roles.ts';
import { createToken, revokeToken, tokenFolder } from './token.ts';

let folder: string;
let app: Express;
let server: Server;
let url: string;
let context: ServerContext;
const tokens = {} as Record<Role, string>;

/** The service with nothing behind it: whoever passes the guard gets an error of another kind. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfae-roles-'));
  const settings = settingsSchema.parse({ data: folder });
  context = {
    settings,
    authentication: true,
    archives: new Map(),
    identify: identifier({ settings }),
    limits: settings.limits,
    deletion: true,
    metrics: new Metrics({} as Database, { provider: 'cpu', precision: 'float32' }),
    onHint: () => undefined,
    log: createLog('silent'),
  } as unknown as ServerContext;
  app = createApp(context);
  server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const role of roles) {
    tokens[role] = (await createToken(tokenFolder(folder), { name: role, roles: [role] })).token;
  }
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

/** Method and path of every route of a router. */
function routesOf(router: Router, root = ''): [string, string][] {
  return router.stack.flatMap(({ route }) =>
    route
      ? [...new Set(route.stack.map(({ method }) => method))].map((method): [string, string] => [
          method,
          `${root}${route.path}`.replace(/(.)\/$/, '$1'),
        ])
      : [],
  );
}

const key = ([method, path]: readonly [string, string, ...unknown[]]) => `${method} ${path}`;

test('the table holds every route of the API and of the node itself, and no other', () => {
  const served = [...routesOf(apiRouter(context), apiPath), ...routesOf(app.router)].map(key);
  const listed = routeRoles.map(key).filter((route) => !route.includes(` ${dicomWebPath}`));
  expect(listed.sort()).toEqual(served.sort());
});

test('who only looks changes nothing, and nobody looks without a role, but for what is named here', () => {
  const others = new Map<string, Access>([
    ['get /healthz', 'anyone'],
    ['get /readyz', 'anyone'],
    // Sends whoever is not signed in to do so.
    ['get /app-config.js', 'anyone'],
    ['get /api/v1/session', 'anyone'],
    ['get /api/v1/openapi.json', 'anyone'],
    ['options /dicom-web', 'anyone'],
    ['post /api/v1/session', 'anyone'],
    ['post /api/v1/session/end', 'anyone'],
    ['post /hooks/orthanc', 'sender'],
    ['post /dicom-web/studies', 'sender'],
    ['post /dicom-web/studies/:study', 'sender'],
    ['post /api/v1/studies/:archive/:study/feedback', 'reader'],
  ]);
  for (const entry of routeRoles) {
    const expected = others.get(key(entry)) ?? (entry[0] === 'get' ? 'reader' : 'admin');
    expect([key(entry), entry[2]]).toEqual([key(entry), expected]);
  }
});

const as = (token: string | undefined) => ({ headers: token ? { authorization: `Bearer ${token}` } : {} });

test('every route lets those pass who have its role, and nobody else', async () => {
  const paths = [...routesOf(dicomWebRouter(context), dicomWebPath), ...routesOf(app.router)];
  const routes = [...paths, ...routesOf(apiRouter(context), apiPath)];
  expect(routes.length).toBeGreaterThan(50);
  const needed = { get: 'reader', post: 'sender', delete: 'admin', options: 'anyone' } as Record<
    string,
    string
  >;
  const listed = new Map(routeRoles.map((entry) => [key(entry), entry[2]]));
  for (const [method, pattern] of routes) {
    const access = listed.get(key([method, pattern])) ?? needed[method];
    const path = pattern.replace(/[:*]\w+/g, '1.2.3');
    for (const role of [undefined, ...roles]) {
      const answer = await fetch(`${url}${path}`, {
        method: method.toUpperCase(),
        ...as(role && tokens[role]),
      });
      await answer.body?.cancel();
      const passes = access === 'anyone' || role === 'admin' || role === access;
      const expected = passes ? 'passes' : role ? 403 : 401;
      const refused = answer.status === 403 || answer.status === 401;
      const wrongSession = pattern === '/api/v1/session' && method === 'post';
      if (wrongSession) continue; // answers 415 or 401 of its own
      expect([method, path, role, refused ? answer.status : 'passes']).toEqual([
        method,
        path,
        role,
        expected,
      ]);
    }
  }
});

test('what no route serves needs an admin, and tells nobody else whether it is there', async () => {
  for (const path of ['/api/v1/no-such', '//api/v1/studies', '/dicom-webx', '/.env', '/dicom-web/..%2fapi']) {
    const answer = await fetch(`${url}${path}`);
    expect([path, answer.status]).toEqual([path, 401]);
  }
});

/** The lines of the audit log once the last of them holds `text`: it is written when the answer has gone. */
function auditLines(text: string): Promise<string[]> {
  const audits = auditFolder(folder);
  return until(`a line with ${text}`, () => {
    // At midnight (UTC), into a file of its own.
    const days = readdirSync(audits).map((day) => readFileSync(join(audits, day), 'utf8'));
    const all = days.join('').trim().split('\n');
    return all.at(-1)!.includes(text) && all;
  });
}

test('each refusal and each use is in the audit log, without the values of a query', async () => {
  await fetch(`${url}/dicom-web/studies?PatientName=Doe&limit=1`, as(tokens.sender));
  const lines = await auditLines('PatientName');
  expect(lines.join()).not.toContain('Doe');
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({
    who: 'sender',
    from: '127.0.0.1',
    what: 'GET /dicom-web/studies',
    keys: ['PatientName', 'limit'],
    outcome: 403,
  });
  expect(lines.some((line) => line.includes('"who":null') && line.includes('"outcome":401'))).toBe(true);
});

test('who signs in, and who tries to, is in the audit log, without the token', async () => {
  const body = (token: string) => ({
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  const wrong = `${tokens.reader}x`;
  expect((await fetch(`${url}/api/v1/session`, body(wrong))).status).toBe(401);
  expect((await fetch(`${url}/api/v1/session`, body(tokens.reader))).status).toBe(200);
  const lines = await auditLines('/session","outcome":200');
  expect(lines.join()).not.toContain(tokens.reader);
  const signIns = lines.filter((line) => line.includes('"POST /api/v1/session"'));
  expect(signIns.slice(-2).map((line) => JSON.parse(line) as object)).toMatchObject([
    { who: null, from: '127.0.0.1', outcome: 401 },
    { who: 'reader', from: '127.0.0.1', outcome: 200 },
  ]);
});

describe('with a database', () => {
  let away = false;
  let other: Server;
  let root: string;
  const more = Promise.withResolvers<undefined>();
  const news = (position: string) => [{ position, type: 'study', at: new Date(), data: {} }];

  beforeAll(async () => {
    const database = {
      query: () => (away ? Promise.reject(new Error('away')) : Promise.resolve([{ position: '1-0' }])),
    };
    const events = {
      async *after() {
        yield news('1-1');
        await more.promise;
        yield news('1-2');
        throw new Error('read on');
      },
    };
    other = createServer(createApp({ ...context, database, events } as unknown as ServerContext));
    await once(other.listen(0, '127.0.0.1'), 'listening');
    root = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  });

  afterAll(() => {
    other.closeAllConnections();
    other.close();
  });

  test('the stream of events ends, without another event, when its token is revoked', async () => {
    const { token, entry } = await createToken(tokenFolder(folder), { name: 'guest', roles: ['reader'] });
    const answer = await fetch(`${root}/api/v1/events`, as(token));
    let text = '';
    for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (!text.includes('id: 1-1')) continue;
      await revokeToken(tokenFolder(folder), entry.id).catch(() => undefined);
      more.resolve(undefined);
    }
    expect(text).not.toContain('id: 1-2');
  });

  test('/readyz tells whether the database answers', async () => {
    expect((await fetch(`${root}/readyz`)).status).toBe(200);
    away = true;
    const answer = await fetch(`${root}/readyz`);
    expect([answer.status, await answer.json()]).toEqual([
      503,
      { status: 'not ready', error: 'the database does not answer' },
    ]);
  });
});
