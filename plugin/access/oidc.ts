import { createRemoteJWKSet, errors, jwtVerify, type JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import type { Settings } from '../settings.ts';
import { roles, type Identity } from './role.ts';

/** Signatures of a provider's private key: one made with a shared secret, or none, is refused. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

/** The provider may take this long to answer. */
const timeoutMs = 5000;

const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.url({ protocol: /^https?$/ }) });

/** The identity provider cannot be asked for its keys. */
export class ProviderUnreachableError extends Error {
  override name = 'ProviderUnreachableError';
}

/**
 * Recognizes access tokens of an OpenID Connect provider (RFC 7519, RFC 9068): signed by one of the keys that the
 * provider publishes (OpenID Connect Discovery 1.0), for our audience, not expired.
 *
 * @returns who a token belongs to; undefined if it is not valid.
 */
export class OidcProvider {
  readonly #settings: NonNullable<Settings['access']['oidc']>;
  #keys: Promise<JWTVerifyGetKey> | undefined;

  constructor(settings: NonNullable<Settings['access']['oidc']>) {
    this.#settings = settings;
  }

  /** @throws ProviderUnreachableError while the provider's keys cannot be had. */
  async bearerOf(token: string): Promise<Identity | undefined> {
    const { issuer, audience, rolesClaim } = this.#settings;
    try {
      const keys = await (this.#keys ??= this.#discover());
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience,
        algorithms,
        requiredClaims: ['exp', 'sub'],
      });
      return { name: payload.sub!, roles: rolesAt(payload, rolesClaim) };
    } catch (error) {
      if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)) return undefined;
      this.#keys = undefined;
      throw new ProviderUnreachableError(`${issuer}: ${(error as Error).message}`, { cause: error });
    }
  }

  async #discover(): Promise<JWTVerifyGetKey> {
    const { issuer } = this.#settings;
    const answer = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!answer.ok) throw new Error(`its configuration was answered ${answer.status}`);
    const { issuer: named, jwks_uri } = discoverySchema.parse(await answer.json());
    if (named !== issuer) throw new Error(`it calls itself ${named}`);
    return createRemoteJWKSet(new URL(jwks_uri), { timeoutDuration: timeoutMs });
  }
}

/** The roles that a claim names; `realm_access.roles` is a claim within a claim. What is no role of ours is left out. */
function rolesAt(payload: object, claim: string): Identity['roles'] {
  const value = claim
    .split('.')
    .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], payload);
  const named = typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : [];
  return roles.filter((role) => named.includes(role));
}
