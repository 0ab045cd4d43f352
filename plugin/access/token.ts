import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { roles, type Identity, type Role } from './role.ts';

/** What is kept of a token: enough to recognize it, not enough to send it. */
const tokenSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  roles: z.array(z.enum(roles)),
  /** SHA-256 of the secret. It has 256 random bits, so a slow hash would protect nothing more. */
  hash: z.string(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().nullable(),
});

/** A token, without what would let someone send it. */
export type TokenEntry = Omit<z.infer<typeof tokenSchema>, 'hash'>;

/** `qfae_`, an ID by which the token is found, and the secret. */
const tokenForm = /^qfae_([0-9a-f]{12})_([\w-]{43})$/;

/** Where the tokens of a data folder are kept: a file each, so that a running node sees at once what is changed. */
export function tokenFolder(dataFolder: string): string {
  return join(dataFolder, 'tokens');
}

/**
 * Makes a token and keeps its hash.
 *
 * @param name who will use it, as the audit log shall name it
 * @returns the token itself, which nobody can read again, and what is kept of it.
 */
export async function createToken(
  folder: string,
  { name, roles, expiresAt }: { name: string; roles: Role[]; expiresAt?: Date },
): Promise<{ token: string; entry: TokenEntry }> {
  const id = randomBytes(6).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  const entry: TokenEntry = {
    id,
    name,
    roles,
    createdAt: new Date().toISOString(),
    expiresAt: expiresAt?.toISOString() ?? null,
  };
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const kept = JSON.stringify({ ...entry, hash: hashOf(secret).toString('hex') });
  await writeFile(fileOf(folder, id), kept, { flag: 'wx', mode: 0o600 });
  return { token: `qfae_${id}_${secret}`, entry };
}

/** Every token that was made and not revoked, the oldest first. */
export async function listTokens(folder: string): Promise<TokenEntry[]> {
  const files = await readdir(folder).catch(() => []);
  const entries = await Promise.all(
    files.filter((file) => file.endsWith('.json')).map((file) => readToken(folder, file.slice(0, -5))),
  );
  return entries
    .filter((entry) => entry !== undefined)
    .map(({ hash, ...entry }) => entry)
    .sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
}

/**
 * Revokes a token; it is refused from the next request on.
 *
 * @throws Error if there is none of this ID.
 */
export async function revokeToken(folder: string, id: string): Promise<void> {
  if (!(await listTokens(folder)).some((entry) => entry.id === id)) throw new Error(`no token ${id}`);
  await rm(fileOf(folder, id));
}

/** Who a token belongs to; undefined if it was never made, was revoked, or has expired at `now`. */
export async function bearerOf(
  folder: string,
  token: string,
  now: Date = new Date(),
): Promise<Identity | undefined> {
  const [, id, secret] = tokenForm.exec(token) ?? [];
  if (id === undefined) return undefined;
  const entry = await readToken(folder, id);
  if (!entry || !timingSafeEqual(hashOf(secret), Buffer.from(entry.hash, 'hex'))) return undefined;
  if (entry.expiresAt !== null && new Date(entry.expiresAt) <= now) return undefined;
  return { name: entry.name, roles: entry.roles };
}

async function readToken(folder: string, id: string) {
  const text = await readFile(fileOf(folder, id), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : tokenSchema.parse(JSON.parse(text));
}

function fileOf(folder: string, id: string): string {
  return join(folder, `${id}.json`);
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
