import { Agent } from 'undici';

/**
 * Connections by HTTP/1.1, also to servers that offer HTTP/2: that is what is tested with archives.
 *
 * @param timeoutMs a server that says nothing for this long has failed
 */
export function http1Agent(timeoutMs: number): Agent {
  return new Agent({ headersTimeout: timeoutMs, bodyTimeout: timeoutMs, allowH2: false });
}
