import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { constants, deflateRawSync, gzipSync } from 'node:zlib';
import { Agent, fetch, type RequestInit } from 'undici';
import { makeCertificate } from '../../fixtures/certificate.ts';
import { writeCRImage, writeMultiframe } from '../../fixtures/dicom-series.ts';
import { startNodeProcess, type NodeProcess } from '../../fixtures/node-process.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { until } from '../../fixtures/until.ts';
import { auditFolder } from '../access/audit-log.ts';
import { createToken, tokenFolder } from '../access/token.ts';

const instanceBytes = 2_000_000;

describeWith(['openssl'], 'a node that asks who it is, by TLS', () => {
  let folder: string;
  let node: NodeProcess;
  let environment: Record<string, string>;
  let agent: Agent;
  let image: Uint8Array;
  const tokens: Record<string, string> = {};

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-attacks-'));
    const { certificateFile, keyFile } = makeCertificate(folder, 'node', 'DNS:node.example');
    const data = join(folder, 'data');
    for (const role of ['reader', 'sender', 'admin'] as const) {
      tokens[role] = (await createToken(tokenFolder(data), { name: role, roles: [role] })).token;
    }
    environment = {
      QFAE_DATA: data,
      QFAE_HTTP_TLS_CERTIFICATE_FILE: certificateFile,
      QFAE_HTTP_TLS_KEY_FILE: keyFile,
      QFAE_ACCESS_AUTHENTICATION: 'on',
      QFAE_JOBS_WORK: 'false',
      QFAE_ARRIVAL_QUIET_SECONDS: '0.5',
      QFAE_LIMITS_STALL_SECONDS: '1',
      QFAE_LIMITS_PARTS: '3',
      QFAE_LIMITS_INSTANCE_BYTES: String(instanceBytes),
      QFAE_LIMITS_REQUEST_BYTES: String(2 * instanceBytes),
    };
    node = await startNodeProcess(environment);
    agent = new Agent({ connect: { ca: readFileSync(certificateFile), servername: 'node.example' } });
    image = (await writeCRImage(join(folder, 'cr'), { name: 'Attack' })).bytes;
  }, 300_000);

  afterAll(async () => {
    await agent.destroy();
    await node.stop();
    rmSync(folder, { recursive: true });
  });

  const call = (path: string, role: string | undefined, init: RequestInit = {}) =>
    fetch(`${node.url}${path}`, {
      ...init,
      dispatcher: agent,
      headers: {
        ...(role !== undefined && { authorization: `Bearer ${tokens[role]}` }),
        ...(init.headers as Record<string, string> | undefined),
      },
    });

  const store = (objects: Uint8Array[], headers: Record<string, string> = {}) =>
    call('/dicom-web/studies', 'sender', {
      method: 'POST',
      headers: { 'content-type': 'multipart/related; type="application/dicom"; boundary=b', ...headers },
      body: Buffer.concat([
        ...objects.flatMap((object) => [
          Buffer.from('\r\n--b\r\nContent-Type: application/dicom\r\n\r\n'),
          object,
        ]),
        Buffer.from('\r\n--b--\r\n'),
      ]),
    });

  /** Reasons of PS3.18 table I.2-2 in the answer of a store request. */
  const reasons = async (answer: Awaited<ReturnType<typeof store>>) =>
    [...JSON.stringify(await answer.json()).matchAll(/"00081197":\{"vr":"US","Value":\[(\d+)\]/g)].map(
      ([, reason]) => Number(reason).toString(16),
    );

  test('senders store, readers read, and nobody else', async () => {
    expect((await store([image])).status).toBe(200);
    expect((await call('/dicom-web/studies', 'sender')).status).toBe(403);
    expect((await call('/dicom-web/studies', undefined)).status).toBe(401);
    const found = await call('/dicom-web/studies', 'reader');
    expect([found.status, ((await found.json()) as unknown[]).length]).toEqual([200, 1]);
    expect(found.headers.get('strict-transport-security')).toMatch(/max-age/);
    expect(found.headers.get('content-security-policy')).toContain("default-src 'self'");
    expect((await call('/healthz', undefined)).status).toBe(200);
  });

  test('the command line and the health check reach it without being given a token', async () => {
    const env = { PATH: process.env['PATH'], ...environment, QFAE_HTTP_PORT: new URL(node.url).port };
    const run = promisify(execFile);
    const qfae = new URL('../cli/qfae.ts', import.meta.url).pathname;
    const { stdout } = await run(process.execPath, [qfae, 'jobs', 'list', '--json'], { env });
    expect(stdout).toMatch(/^$|"type":"job"/);
    await run(process.execPath, [new URL('health-check.ts', import.meta.url).pathname], { env });
    expect(readdirSync(tokenFolder(environment['QFAE_DATA']))).toHaveLength(3);
  });

  test('a browser signs in with a cookie that no script reads and no other site sends', async () => {
    const signIn = (token: string, type = 'application/json') =>
      call('/api/v1/session', undefined, {
        method: 'POST',
        headers: { 'content-type': type },
        body: JSON.stringify({ token }),
      });
    expect((await signIn(`${tokens['admin']}x`)).status).toBe(401);
    expect((await signIn(tokens['admin'], 'text/plain')).status).toBe(415);
    const answer = await signIn(tokens['admin']);
    const [set] = answer.headers.getSetCookie();
    expect(set).toMatch(/; Path=\/; HttpOnly; Secure; SameSite=Strict$/);
    const cookie = set.split(';')[0];

    const session = await call('/api/v1/session', undefined, { headers: { cookie } });
    expect(await session.json()).toMatchObject({ required: true, name: 'admin', roles: ['admin'] });
    const post = (origin?: string) =>
      call('/api/v1/rescore', undefined, {
        method: 'POST',
        headers: { cookie, 'content-type': 'application/json', ...(origin !== undefined && { origin }) },
        body: JSON.stringify({ limit: 1, dryRun: true }),
      });
    expect((await post(node.url)).status).toBe(200);
    for (const origin of [undefined, 'null', 'https://evil.example', 'https://127.0.0.1:1']) {
      expect([origin, (await post(origin)).status]).toEqual([origin, 403]);
    }
    const deletion = await call('/dicom-web/studies/1.2.3', undefined, {
      method: 'DELETE',
      headers: { cookie },
    });
    expect(deletion.status).toBe(403);
  });

  test('a judgement bears the name of who has signed in, whatever the request says', async () => {
    const { studyInstanceUID } = await writeCRImage(join(folder, 'judged'), { name: 'Attack' });
    const judge = (role: string, body: object) =>
      call(`/api/v1/studies/local/${studyInstanceUID}/feedback`, role, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ label: 'normal', ...body }),
      });
    const listed = async () => (await call(`/api/v1/studies?study=${studyInstanceUID}`, 'reader')).json();
    await until('the study is listed', async () => ((await listed()) as { total: number }).total > 0);
    expect((await judge('reader', { reader: 'Dr. Other' })).status).toBe(403);
    for (const body of [{}, { reader: 'reader' }]) {
      const answer = await judge('reader', body);
      expect([answer.status, await answer.json()]).toMatchObject([200, { reader: 'reader' }]);
    }
    const { feedbackHistory } = (await (
      await call(`/api/v1/studies/local/${studyInstanceUID}`, 'reader')
    ).json()) as { feedbackHistory: unknown[] };
    expect(feedbackHistory).toHaveLength(2);
  });

  test('more objects, or more bytes, than a request may have are refused; what came before is stored', async () => {
    const many = await store([image, image, image, image]);
    expect([many.status, await reasons(many)]).toEqual([202, ['a700']]);
    const large = Buffer.concat([image, Buffer.alloc(instanceBytes)]);
    const one = await store([image, large]);
    expect([one.status, await reasons(one)]).toEqual([202, ['a700']]);
    const declared = await store([image], { 'content-length': String(3 * instanceBytes) }).then(
      ({ status }) => status,
      () => 'broken off',
    );
    expect([413, 'broken off']).toContain(declared);
    expect((await store([image])).status).toBe(200);
  });

  test('bombs are refused: a deflated data set, an object that says it has many frames, a compressed body', async () => {
    // More than 1 GiB of zeros in one element, as Deflated Explicit VR Little Endian.
    const deflated = '1.2.840.10008.1.2.1.99\0';
    const meta = Buffer.concat([
      Buffer.from([2, 0, 16, 0]),
      Buffer.from('UI'),
      Buffer.from([deflated.length + (deflated.length % 2), 0]),
      Buffer.from(deflated.padEnd(deflated.length + (deflated.length % 2), '\0')),
    ]);
    const length = Buffer.alloc(12);
    length.write('\x02\0\0\0UL\x04\0', 'latin1');
    length.writeUInt32LE(meta.length, 8);
    const element = Buffer.from([0xe0, 0x7f, 0x10, 0, 0x4f, 0x42, 0, 0, 0, 0, 0, 0x41]);
    const zeros = deflateRawSync(Buffer.alloc(2 ** 24), { finishFlush: constants.Z_FULL_FLUSH });
    const bomb = Buffer.concat([
      Buffer.alloc(128),
      Buffer.from('DICM'),
      length,
      meta,
      deflateRawSync(element, { finishFlush: constants.Z_FULL_FLUSH }),
      ...new Array<Buffer>(65).fill(zeros),
      deflateRawSync(Buffer.alloc(0)),
    ]);
    expect(bomb.length).toBeLessThan(instanceBytes);
    const answer = await store([bomb]);
    expect([answer.status, await reasons(answer)]).toEqual([400, ['c000']]);
    const line = `deflated data set beyond ${instanceBytes} bytes`;
    await until('a line in the log', () => JSON.stringify(node.log()).includes(line));
    const { bytes: cine } = await writeMultiframe(join(folder, 'us'), {
      attributes: { NumberOfFrames: 2 ** 31 - 2 },
    });
    const frames = await store([cine]);
    expect([frames.status, await reasons(frames)]).toEqual([400, ['c000']]);
    const json = await call('/api/v1/session', undefined, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: gzipSync(JSON.stringify({ token: 'a'.repeat(2 ** 26) })),
    });
    expect(json.status).toBe(413);
  });

  /** Sends bytes as they are, then `dribble` again and again until the node ends it; returns what it answered. */
  const sendRaw = async (bytes: string, dribble?: string) => {
    const socket = connect({
      host: '127.0.0.1',
      port: Number(new URL(node.url).port),
      rejectUnauthorized: false,
    });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    const closed = once(socket, 'close');
    socket.write(bytes);
    const dribbling = setInterval(() => dribble !== undefined && socket.write(dribble), 200);
    await closed;
    clearInterval(dribbling);
    return answer;
  };

  test('a head or a body that dribbles is broken off', async () => {
    const head = `POST /dicom-web/studies HTTP/1.1\r\nHost: node.example\r\nAuthorization: Bearer ${tokens['sender']}\r\n`;
    expect(await sendRaw(head, 'X-Header: a\r\n')).toMatch(/^HTTP\/1\.1 408 /);
    const answer = await sendRaw(
      `${head}Content-Type: multipart/related; type="application/dicom"; boundary=b\r\nContent-Length: 1000000\r\n\r\n`,
      '-',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    await until('nothing is left of it', () => incoming().length === 0);
  });

  test('no path leads out of the store or the dashboard', async () => {
    for (const path of [
      '/dicom-web/studies/..%2f..%2fetc',
      '/dicom-web/studies/1.2.3/series/%2e%2e/instances/1.2.3',
      '/..%2f..%2fpackage.json',
      '/%2e%2e/%2e%2e/package.json',
      '/..%5c..%5cpackage.json',
      '/api/v1/bundles/..%2f..%2ftokens',
      '/sign-in.html%00.png',
    ]) {
      const answer = await call(path, 'admin');
      expect([path, answer.status >= 400 && answer.status < 500]).toEqual([path, true]);
      expect(await answer.text()).not.toContain('"dependencies"');
    }
  });

  test('a request cannot add lines to a log or headers to an answer', async () => {
    const named = await call('/api/v1/node', 'reader', { headers: { 'x-request-id': 'my-request-1' } });
    expect(named.headers.get('x-request-id')).toBe('my-request-1');
    for (const id of ['a b', '{"who":"x"}', 'é', 'x'.repeat(65)]) {
      const answer = await call('/api/v1/node', 'reader', { headers: { 'x-request-id': id } });
      expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    }
    const split = await call('/dicom-web/studies?NoSuch%0d%0aSet-Cookie:%20a=b', 'reader');
    expect(split.headers.getSetCookie()).toEqual([]);
    await split.body?.cancel();
    await (await call('/api/v1/node', 'reader', { headers: { 'x-forwarded-for': '10.9.9.9' } })).text();
    for (const line of auditLines()) expect(JSON.parse(line)).toMatchObject({ from: '127.0.0.1' });
  });

  test.each([
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello'],
    ['a length and chunks', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a header continued on the next line', 'X-Header: a\r\n  b\r\n\r\n'],
    ['a line end within a header', 'X-Header: a\rAuthorization: b\r\n\r\n'],
    ['a zero within a header', 'X-Header: a\0b\r\n\r\n'],
  ])('a request whose parts two readers could tell apart differently is refused: %s', async (_what, rest) => {
    const answer = await sendRaw(`POST /hooks/orthanc HTTP/1.1\r\nHost: node.example\r\n${rest}`);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  test('no token stands in a log', () => {
    const written = [...auditLines(), JSON.stringify(node.log())].join();
    for (const token of Object.values(tokens)) expect(written).not.toContain(token.slice(-43));
    expect(written).toContain('"who":"sender"');
  });

  test('who guesses tokens has to wait; this comes last', async () => {
    const statuses = new Set<number>();
    for (let i = 0; i < 40; i++) {
      const headers = { authorization: `Bearer qfae_${String(i).padStart(12, '0')}_${'x'.repeat(43)}` };
      statuses.add((await call('/api/v1/node', undefined, { headers })).status);
    }
    expect([...statuses]).toEqual([401, 429]);
    expect((await call('/api/v1/node', 'reader')).status).toBe(429);
    expect((await call('/healthz', undefined)).status).toBe(200);
  });

  /** What is on its way into the store. */
  function incoming(): string[] {
    return readdirSync(join(environment['QFAE_DATA'], 'incoming'));
  }

  function auditLines(): string[] {
    const audits = auditFolder(environment['QFAE_DATA']);
    return readdirSync(audits).flatMap((file) => readFileSync(join(audits, file), 'utf8').trim().split('\n'));
  }
});
