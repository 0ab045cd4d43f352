import type { RequestHandler } from 'express';

const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i;

/** Whether an address of ours can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return loopback.test(host) || host === '::1';
}

/**
 * Refuses requests whose Host header names neither this machine nor one of `hosts`. A page of any site can have
 * its own name resolve to 127.0.0.1, and would then read the node's answers as its own (DNS rebinding).
 *
 * @param hosts names without port, such as the one of a proxy that passes the Host header on
 */
export function requireAllowedHost(hosts: readonly string[]): RequestHandler {
  const allowed = new Set(hosts.map((host) => host.toLowerCase()));
  return (request, response, next) => {
    const host = (request.get('host') ?? '').replace(/:\d*$/, '').toLowerCase();
    if (loopback.test(host) || allowed.has(host)) next();
    else response.status(421).json({ error: 'this Host is not served here (setting http.allowedHosts)' });
  };
}
