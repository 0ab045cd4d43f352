import { settingsSchema } from '../settings.ts';
import { requiresAuthentication } from './exposure.ts';

const tls = { certificateFile: 'c.pem', keyFile: 'k.pem' };
const oidc = { issuer: 'https://id.example', audience: 'qfae' };

test.each([
  ['the defaults', {}, false],
  ['loopback, asked for', { access: { authentication: 'on' } }, true],
  ['loopback with a provider', { access: { oidc } }, true],
  ['loopback with TLS', { http: { tls } }, false],
  ['loopback behind a proxy', { http: { behindProxy: true } }, true],
  ['every address with TLS', { http: { host: '0.0.0.0', tls } }, true],
  ['a name behind a proxy', { http: { host: 'node.example', behindProxy: true } }, true],
])('authentication: %s', (_what, settings, required) => {
  expect(requiresAuthentication(settingsSchema.parse(settings))).toBe(required);
});

test.each([
  ['unencrypted', { http: { host: '0.0.0.0' } }, /http\.host: at 0\.0\.0\.0 .*http\.tls/],
  ['unencrypted, IPv6', { http: { host: '::' } }, /http\.host: at ::/],
  ['a name that begins as loopback', { http: { host: '127.0.0.1.example' } }, /http\.host/],
  [
    'without authentication',
    { http: { host: '::', tls }, access: { authentication: 'off' } },
    /must not be off/,
  ],
  ['proxied without', { http: { behindProxy: true }, access: { authentication: 'off' } }, /must not be off/],
])('a node that other machines reach is refused: %s', (_what, settings, message) => {
  expect(() => requiresAuthentication(settingsSchema.parse(settings))).toThrow(message);
});
