import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { pino } from 'pino';
import { describeWith } from '../../fixtures/required-program.ts';
import { readCertificate, renewCertificate } from './certificate.ts';

describeWith(['openssl'], 'the certificate of a running server', () => {
  let folder: string;
  let server: Server;
  let tls: { certificateFile: string; keyFile: string };
  let renewal: Promise<void>;
  const told: string[] = [];
  const stop = new AbortController();

  const make = (name: string) => {
    const files = [join(folder, `${name}.pem`), join(folder, `${name}-key.pem`)] as const;
    const output = ['-out', files[0], '-keyout', files[1], '-subj', `/CN=${name}`];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...output], {
      stdio: 'ignore',
    });
    return files;
  };
  /** A file's time has to change: two writes may come within one tick of the file system's clock. */
  let seconds = 1_700_000_000;
  const lay = (from: string, to: string) => {
    copyFileSync(from, to);
    utimesSync(to, ++seconds, seconds);
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qfae-certificate-'));
    tls = { certificateFile: join(folder, 'now.pem'), keyFile: join(folder, 'now-key.pem') };
    const [certificate, key] = make('first');
    lay(certificate, tls.certificateFile);
    lay(key, tls.keyFile);
    server = createServer(readCertificate(tls)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const log = pino({}, { write: (line: string) => told.push((JSON.parse(line) as { msg: string }).msg) });
    renewal = renewCertificate(server, tls, log, stop.signal, 20);
  }, 60_000);

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
    const [certificate, key] = make('second');
    lay(certificate, tls.certificateFile); // its key is to follow
    await until('the renewed certificate cannot be used');
    expect(await nameNow()).toBe('first');
    lay(key, tls.keyFile);
    await until('the renewed certificate is in use');
    expect(await nameNow()).toBe('second');

    rmSync(tls.keyFile);
    await until('the renewed certificate cannot be used');
    writeFileSync(tls.keyFile, 'no key');
    await until('the renewed certificate cannot be used');
    expect(await nameNow()).toBe('second');
  }, 60_000);

  test('a file that is missing at the start is named', () => {
    const missing = join(folder, 'missing.pem');
    expect(() => readCertificate({ ...tls, certificateFile: missing })).toThrow(
      `http.tls.certificateFile: ENOENT: no such file or directory, open '${missing}'`,
    );
  });
});
