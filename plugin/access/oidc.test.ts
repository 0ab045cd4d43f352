import { exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { startOidcProvider, type OidcProviderDouble } from '../../fixtures/oidc-provider.ts';
import { OidcProvider, ProviderUnreachableError } from './oidc.ts';

let keys: OidcProviderDouble;
let issuer: string;

beforeAll(async () => {
  keys = await startOidcProvider();
  ({ issuer } = keys);
});

afterAll(() => {
  keys.close();
});

const open = (rolesClaim = 'roles') => new OidcProvider({ issuer, audience: 'qfae', rolesClaim });

function claims(changed: object = {}, kid = 'one'): SignJWT {
  return new SignJWT({ roles: ['reader', 'boss'], ...changed })
    .setProtectedHeader({ alg: 'ES256', kid })
    .setIssuer(issuer)
    .setAudience('qfae')
    .setSubject('jane')
    .setExpirationTime('5m');
}

test('a token of the provider is recognized, with the roles that its claim names; keys are fetched once', async () => {
  const oidc = open();
  const before = keys.requests();
  for (let i = 0; i < 3; i++) {
    expect(await oidc.bearerOf(await claims().sign(keys.privateKey))).toEqual({
      name: 'jane',
      roles: ['reader'],
    });
  }
  expect(keys.requests() - before).toBe(2);
  const nested = await claims({ realm_access: { roles: ['admin'] } }).sign(keys.privateKey);
  expect(await open('realm_access.roles').bearerOf(nested)).toMatchObject({ roles: ['admin'] });
  const text = await claims({ scope: 'openid sender' }).sign(keys.privateKey);
  expect(await open('scope').bearerOf(text)).toMatchObject({ roles: ['sender'] });
  expect(await open('no.such').bearerOf(text)).toMatchObject({ roles: [] });
});

test('forged and expired tokens, and those for others, are refused', async () => {
  const other = await generateKeyPair('ES256');
  const publicKey = new TextEncoder().encode(await exportSPKI(keys.publicKey));
  const endless = { iss: issuer, aud: 'qfae', sub: 'jane', roles: ['admin'] };
  const base = { ...endless, exp: Math.floor(Date.now() / 1000) + 300 };
  const forged = {
    expired: await claims().setExpirationTime('-1m').sign(keys.privateKey),
    'not valid yet': await claims().setNotBefore('5m').sign(keys.privateKey),
    'without an end': await new SignJWT(endless)
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .sign(keys.privateKey),
    'for another': await claims().setAudience('other').sign(keys.privateKey),
    'by another issuer': await claims().setIssuer('https://evil.example').sign(keys.privateKey),
    "with another's key": await claims().sign(other.privateKey),
    'with a key of an unknown name': await claims({}, 'two').sign(keys.privateKey),
    unsigned: new UnsecuredJWT(base).encode(),
    'signed with the public key as a secret': await new SignJWT(base)
      .setProtectedHeader({ alg: 'HS256', kid: 'one' })
      .sign(publicKey),
    changed: (await claims().sign(keys.privateKey)).replace(
      /\.[^.]+\./,
      `.${Buffer.from(JSON.stringify(base)).toString('base64url')}.`,
    ),
    'no token': 'a.b.c',
  };
  const oidc = open();
  for (const [what, token] of Object.entries(forged)) {
    expect([what, await oidc.bearerOf(token)]).toEqual([what, undefined]);
  }
});

test('a provider that is away is told apart from a token that is wrong, and asked again', async () => {
  const token = await claims().sign(keys.privateKey);
  const away = new OidcProvider({ issuer: 'http://127.0.0.1:1', audience: 'qfae', rolesClaim: 'roles' });
  await expect(away.bearerOf(token)).rejects.toThrow(ProviderUnreachableError);
  const impostor = new OidcProvider({ issuer: `${issuer}/`, audience: 'qfae', rolesClaim: 'roles' });
  await expect(impostor.bearerOf(token)).rejects.toThrow(/calls itself/);
});
