import { readFileSync } from 'node:fs';
import { Agent } from 'undici';
import type { Settings } from '../settings.ts';

/** Where the node of these settings is reached on its own machine, and what `fetch` of undici needs for it. */
export function ownNode({ http }: Pick<Settings, 'http'>): { url: string; dispatcher: Agent } {
  const { host, port, tls } = http;
  const address = ['0.0.0.0', '::'].includes(host) ? '127.0.0.1' : host;
  const name = address.includes(':') ? `[${address}]` : address;
  // Its certificate names it as other machines call it: it is known by the certificate itself.
  const connect = tls && {
    ca: readFileSync(tls.certificateFile),
    allowPartialTrustChain: true,
    checkServerIdentity: () => undefined,
  };
  return {
    url: `http${tls ? 's' : ''}://${name}:${port}`,
    dispatcher: new Agent(connect ? { connect } : {}),
  };
}
