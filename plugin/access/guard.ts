import { parseCookie } from 'cookie';
import { Router, type Request, type RequestHandler, type Response } from 'express';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { sendProblem } from '../api/problem.ts';
import type { Logger } from '../log.ts';
import { requestID } from '../http/request-id.ts';
import { auditDone } from './audit-log.ts';
import { OidcProvider, ProviderUnreachableError } from './oidc.ts';
import { permits, roles, type Identity } from './role.ts';
import { routeRoles, type Access } from './route-roles.ts';
import { bearerOf, tokenFolder } from './token.ts';
import type { Settings } from '../settings.ts';

/** What the guard needs of the node. */
export interface GuardContext {
  settings: Pick<Settings, 'data' | 'access'>;
  /** Whether requests must say who sends them. */
  authentication: boolean;
  log: Logger;
}

/** The cookie by which a browser that has signed in sends its token. */
export const sessionCookie = 'qfae_session';

/** Who everyone is where nobody need say so. */
const local: Identity = { name: 'local', roles: [...roles] };

/** Wrong tokens that one address may send in a minute. */
const guessesPerMinute = 30;

/** An address has sent too many wrong tokens. */
class GuessesError extends Error {
  override name = 'GuessesError';
}

/** Finds out whom the token of a request belongs to: one of the node's own, or of the identity provider. */
export type Identify = (token: string, request: Request) => Promise<Identity | undefined>;

export function identifier({ settings }: Pick<GuardContext, 'settings'>): Identify {
  const folder = tokenFolder(settings.data);
  const provider = settings.access.oidc && new OidcProvider(settings.access.oidc);
  const guesses = new RateLimiterMemory({ points: guessesPerMinute, duration: 60 });
  return async (token, { ip = '' }) => {
    if (((await guesses.get(ip))?.remainingPoints ?? 1) <= 0) {
      throw new GuessesError('too many wrong tokens from this address; wait a minute');
    }
    const identity = (await bearerOf(folder, token)) ?? (await provider?.bearerOf(token));
    if (!identity) await guesses.consume(ip).catch(() => undefined); // rejects with the state where none are left
    return identity;
  };
}

/**
 * Lets a request pass if who sends it may use its route, by the table of routes and roles; and enters it into the
 * audit log.
 */
export function guard(context: GuardContext, identify: Identify): RequestHandler {
  const router = Router();
  const admit =
    (access: Access): RequestHandler =>
    async (request, response, next) => {
      const sent = credentials(request);
      const identity = context.authentication ? sent && (await identify(sent.token, request)) : local;
      response.locals['identity'] = identity;
      // What is open to anyone is entered where it changes something: who signs in, and who tries to.
      if (access !== 'anyone' || request.method === 'POST') enterWhenAnswered(context, request, response);
      if (access !== 'anyone') {
        if (!identity) {
          response.set('WWW-Authenticate', sent ? 'Bearer error="invalid_token"' : 'Bearer');
          sendProblem(response, 401, sent ? 'the token is not valid (any more)' : 'send a bearer token');
          return;
        }
        if (!permits(identity, access)) {
          sendProblem(response, 403, `this needs the role ${access}`);
          return;
        }
        if (sent?.cookie && !isOfThisPage(request)) {
          sendProblem(response, 403, 'pages of another origin may not change anything');
          return;
        }
        response.locals['isPermitted'] = async () => {
          const now = context.authentication ? sent && (await identify(sent.token, request)) : local;
          return now !== undefined && permits(now, access);
        };
      }
      next('router');
    };
  for (const [method, path, access] of routeRoles) router[method](path, admit(access));
  router.use(admit('admin'));
  return (request, response, next) => {
    router(request, response, (error?: unknown) => {
      if (error instanceof GuessesError) sendProblem(response, 429, error.message);
      else if (error instanceof ProviderUnreachableError) {
        context.log.error({ error }, 'the identity provider cannot be asked');
        sendProblem(response, 503, 'the identity provider cannot be asked');
      } else next(error);
    });
  };
}

/** Who sends a request; undefined where nobody said, on a route that is open to anyone. */
export function identityOf(response: Response): Identity | undefined {
  return response.locals['identity'] as Identity | undefined;
}

/**
 * Whether who sent a request may still use its route: a token may be revoked or expire while a long answer is sent.
 * Where that cannot be found out, they may not.
 */
export async function isStillPermitted(response: Response): Promise<boolean> {
  const isPermitted = response.locals['isPermitted'] as () => Promise<boolean>;
  return isPermitted().catch(() => false);
}

/** Says who signs in by a request, or with undefined that nobody does. */
export function signIn(response: Response, identity: Identity | undefined): void {
  response.locals['identity'] = identity;
}

/** The token of a request: of its Authorization header (RFC 6750), or else of the cookie. */
function credentials(request: Request): { token: string; cookie: boolean } | undefined {
  const [, bearer] = /^Bearer +(\S+)$/i.exec(request.get('authorization') ?? '') ?? [];
  if (bearer !== undefined) return { token: bearer, cookie: false };
  const token = parseCookie(request.get('cookie') ?? '')[sessionCookie];
  return token === undefined ? undefined : { token, cookie: true };
}

/**
 * Whether a request that changes something comes from a page of this node. A browser sends the cookie by itself, and
 * takes pages of other ports of the same host for the same site.
 */
function isOfThisPage(request: Request): boolean {
  if (request.method === 'GET' || request.method === 'HEAD') return true;
  const origin = request.get('origin');
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host === request.get('host');
}

function enterWhenAnswered({ settings, log }: GuardContext, request: Request, response: Response): void {
  const url = new URL(request.originalUrl, 'http://node');
  const keys = [...new Set(url.searchParams.keys())];
  response.once('close', () => {
    auditDone(
      settings.data,
      {
        who: identityOf(response)?.name ?? null,
        from: request.ip ?? null,
        what: `${request.method} ${url.pathname.slice(0, 500)}`,
        ...(keys.length > 0 && { keys: keys.slice(0, 50).map((key) => key.slice(0, 64)) }),
        outcome: response.statusCode,
        request: requestID(response),
      },
      log,
    );
  });
}
