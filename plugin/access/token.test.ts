import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bearerOf, createToken, listTokens, revokeToken } from './token.ts';

let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'qfae-token-')), 'tokens');
});

afterEach(() => {
  rmSync(join(folder, '..'), { recursive: true });
});

test('a token is recognized until it is revoked; only its hash is kept, for its owner alone', async () => {
  const { token, entry } = await createToken(folder, { name: 'ward', roles: ['reader'] });
  expect(await bearerOf(folder, token)).toEqual({ name: 'ward', roles: ['reader'] });
  const [file] = readdirSync(folder);
  const secret = token.split('_').slice(2).join('_');
  expect(readFileSync(join(folder, file), 'utf8')).not.toContain(secret);
  expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(await listTokens(folder)).toEqual([entry]);
  expect(JSON.stringify(await listTokens(folder))).not.toContain('hash');

  await revokeToken(folder, entry.id);
  expect(await bearerOf(folder, token)).toBeUndefined();
  await expect(revokeToken(folder, entry.id)).rejects.toThrow(`no token ${entry.id}`);
});

test('an expired token is refused', async () => {
  const expiresAt = new Date('2026-01-01T00:00:00Z');
  const { token } = await createToken(folder, { name: 'guest', roles: ['admin'], expiresAt });
  expect(await bearerOf(folder, token, new Date('2025-12-31T23:59:59Z'))).toBeDefined();
  expect(await bearerOf(folder, token, expiresAt)).toBeUndefined();
});

test('forged tokens are refused, and lead to no other file', async () => {
  const { token } = await createToken(folder, { name: 'ward', roles: ['reader'] });
  const other = await createToken(folder, { name: 'root', roles: ['admin'] });
  const [, id] = token.split('_');
  const secret = other.token.slice(-43);
  writeFileSync(join(folder, '..', 'outside.json'), readFileSync(join(folder, `${id}.json`)));
  for (const forged of [
    '',
    'qfae',
    `${token}x`,
    token.slice(0, -1),
    `qfae_${id}_${secret}`,
    `qfae_${'0'.repeat(12)}_${secret}`,
    `qfae_../outside_${token.slice(-43)}`,
    token.toUpperCase(),
  ]) {
    expect([forged, await bearerOf(folder, forged)]).toEqual([forged, undefined]);
  }
});
