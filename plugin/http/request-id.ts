import { randomUUID } from 'node:crypto';
import type { RequestHandler, Response } from 'express';

/** What a sender may call its request: nothing that could end a line of a log or of a header. */
const form = /^[\w-]{1,64}$/;

/** Gives each request an ID, its sender's `X-Request-Id` where that has the form of one, and sends it back. */
export const nameRequest: RequestHandler = (request, response, next) => {
  const sent = request.get('x-request-id');
  const id = sent !== undefined && form.test(sent) ? sent : randomUUID();
  response.locals['request'] = id;
  response.set('X-Request-Id', id);
  next();
};

/** The ID of the request that is answered. */
export function requestID(response: Response): string {
  return response.locals['request'] as string;
}
