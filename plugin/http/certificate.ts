import { readFileSync, statSync } from 'node:fs';
import type { Server } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.ts';
import { SettingsError, type Settings } from '../settings.ts';

type TlsSettings = NonNullable<Settings['http']['tls']>;

const lookEveryMs = 60_000;

/**
 * Certificate chain and private key, as PEM.
 *
 * @throws SettingsError naming the file that cannot be read.
 */
export function readCertificate({ certificateFile, keyFile }: TlsSettings): { cert: Buffer; key: Buffer } {
  const read = (setting: string, file: string) => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw new SettingsError(`http.tls.${setting}: ${(error as Error).message}`);
    }
  };
  return { cert: read('certificateFile', certificateFile), key: read('keyFile', keyFile) };
}

/** Takes over a renewed certificate, for new connections, until it is told to end. It looks every `everyMs`. */
export async function renewCertificate(
  server: Pick<Server, 'setSecureContext'>,
  tls: TlsSettings,
  log: Logger,
  signal: AbortSignal,
  everyMs = lookEveryMs,
): Promise<void> {
  const changedAt = () =>
    [tls.certificateFile, tls.keyFile].map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs);
  let known = changedAt();
  while (!signal.aborted) {
    await sleep(everyMs, undefined, { signal }).catch(() => undefined);
    try {
      const now = changedAt();
      if (now.every((time, i) => time === known[i])) continue;
      server.setSecureContext(readCertificate(tls));
      known = now;
      log.info('the renewed certificate is in use');
    } catch (error) {
      log.error({ error }, 'the renewed certificate cannot be used (yet)');
    }
  }
}
