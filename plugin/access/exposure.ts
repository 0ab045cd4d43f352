import { isLoopback } from '../http/allowed-host.ts';
import { SettingsError, type Settings } from '../settings.ts';

/**
 * Whether requests must say who sends them. On the loopback address they need not, unless the settings say so.
 *
 * @throws SettingsError if other machines could reach the node without authentication, or unencrypted.
 */
export function requiresAuthentication({ http, access }: Pick<Settings, 'http' | 'access'>): boolean {
  const { host, tls, behindProxy } = http;
  const loopback = isLoopback(host);
  if (!loopback && !tls && !behindProxy) {
    throw new SettingsError(
      `http.host: at ${host} other machines reach the node: give http.tls, or say http.behindProxy where a proxy that encrypts stands before it`,
    );
  }
  const exposed = !loopback || behindProxy;
  if (exposed && access.authentication === 'off') {
    throw new SettingsError(
      'access.authentication: must not be off where other machines reach the node (http.host, http.behindProxy)',
    );
  }
  return exposed || (access.authentication ?? (access.oidc ? 'on' : 'off')) === 'on';
}
