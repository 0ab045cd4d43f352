import type { CookieOptions, Request } from 'express';
import { z } from 'zod';
import { identityOf, sessionCookie, signIn } from '../access/guard.ts';
import { roles } from '../access/role.ts';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { answerSchema, route, type Route } from './route.ts';

const sessionSchema = answerSchema(
  'Session',
  z.object({
    /** Whether one has to sign in here. */
    required: z.boolean(),
    /** Who is signed in; null: nobody. */
    name: z.string().nullable(),
    roles: z.array(z.enum(roles)),
  }),
);

/** No script can read it, and no other site can have it sent. */
const cookieOptions = (request: Request): CookieOptions => ({
  httpOnly: true,
  sameSite: 'strict',
  secure: request.secure,
  path: '/',
});

/** How a browser signs in: its token travels in a cookie from then on. Other programs send it with each request. */
export function sessionRoutes({ authentication, identify }: ApiContext): Route[] {
  return [
    route({
      method: 'get',
      path: '/session',
      summary: 'Who is signed in, and what they may do',
      answer: sessionSchema,
      handle({ response }) {
        const identity = identityOf(response);
        return {
          required: authentication,
          name: identity?.name ?? null,
          roles: [...(identity?.roles ?? [])],
        };
      },
    }),
    route({
      method: 'post',
      path: '/session',
      summary: 'Sign in with a token, for as long as the browser runs and the token is valid',
      body: z.strictObject({ token: z.string().trim().min(1).max(20_000) }),
      answer: sessionSchema,
      problems: [415, 503],
      async handle({ body: { token }, request, response }) {
        const identity = await identify(token, request);
        signIn(response, identity);
        if (!identity) throw new Problem(401, 'the token is not valid (any more)');
        response.cookie(sessionCookie, token, cookieOptions(request));
        return { required: authentication, name: identity.name, roles: [...identity.roles] };
      },
    }),
    route({
      method: 'post',
      path: '/session/end',
      summary: 'Sign out',
      answer: sessionSchema,
      handle({ request, response }) {
        response.clearCookie(sessionCookie, cookieOptions(request));
        return { required: authentication, name: null, roles: [] };
      },
    }),
  ];
}
