import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { pino } from 'pino';
import { makeCertificate } from '../../fixtures/certificate.ts';
import { describeWith } from '../../fixtures/required-program.ts';
import { readCertificate, renewCertificate } from './certificate.ts';

describeWith(['openssl'], 'the certificate of a running server', () => {
  let folder: string;
  let server: Server;
  let tls: { certificateFile: string; keyFile: string };
  let renewal: Promise<void>;
  const told: string[] = [];
  const stop = new AbortController();

  /** A file's time has to change: two writes may come within one tick of the file system's clock. */
  let seconds = 1_700_000_000;
  const lay = (from: string, to: string) => {
    copyFileSync(from, to);
    utimesSync(to, ++seconds, seconds);
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-certificate-'));
    tls = { certificateFile: join(folder, 'now.pem'), keyFile: join(folder, 'now-key.pem') };
    const first = makeCertificate(folder, 'first', 'IP:127.0.0.1');
    lay(first.certificateFile, tls.certificateFile);
    lay(first.keyFile, tls.keyFile);
    server = createServer(readCertificate(tls)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const log = pino({}, { write: (line: string) => told.push((JSON.parse(line) as { msg: string }).msg) });
    renewal = renewCertificate(server, tls, log, stop.signal, 20);
  });

  afterAll(async () => {
    stop.abort();
    await renewal;
    server.close();
    rmSync(folder, { recursive: true });
  });

  const nameNow = async () => {
    const socket = connect({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
    });
    await once(socket, 'secureConnect');
    const name = socket.getPeerCertificate().subject.CN;
    socket.destroy();
    return name;
  };
  const until = async (text: string) => {
    while (!told.some((message) => message.startsWith(text))) await sleep(10);
    told.length = 0;
  };

  test('is taken over when its files are renewed; until they fit, the old one serves', async () => {
    expect(await nameNow()).toBe('first');
    const second = makeCertificate(folder, 'second', 'IP:127.0.0.1');
    lay(second.certificateFile, tls.certificateFile); // its key is to follow
    await until('the renewed certificate cannot be used');
    expect(await nameNow()).toBe('first');
    lay(second.keyFile, tls.keyFile);
    await until('the renewed certificate is in use');
    expect(await nameNow()).toBe('second');

    rmSync(tls.keyFile);
    await until('the renewed certificate cannot be used');
    writeFileSync(tls.keyFile, 'no key');
    await until('the renewed certificate cannot be used');
    expect(await nameNow()).toBe('second');
  });

  test('a file that is missing at the start is named', () => {
    const missing = join(folder, 'missing.pem');
    expect(() => readCertificate({ ...tls, certificateFile: missing })).toThrow(
      `http.tls.certificateFile: ENOENT: no such file or directory, open '${missing}'`,
    );
  });
});
