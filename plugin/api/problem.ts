import type { ErrorRequestHandler, RequestHandler, Response } from 'express';
import { z } from 'zod';
import type { Logger } from '../log.ts';

/** What an error answer holds (RFC 9457), as `application/problem+json`. */
export const problemSchema = z.object({
  status: z.number().int(),
  title: z.string(),
  /** What is wrong with this request, and where. */
  detail: z.string(),
});

const titles = {
  400: 'Bad request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not found',
  409: 'Conflict',
  413: 'Content too large',
  415: 'Unsupported media type',
  429: 'Too many requests',
  500: 'Internal error',
  502: 'Archive not reachable',
  503: 'Service unavailable',
} as const;

export type ProblemStatus = keyof typeof titles;

/** A request that cannot be answered as asked: its HTTP status and why. */
export class Problem extends Error {
  override name = 'Problem';
  readonly status: ProblemStatus;

  constructor(status: ProblemStatus, detail: string) {
    super(detail);
    this.status = status;
  }
}

/** Answers what no route serves. */
export const answerUnknown: RequestHandler = (request) => {
  throw new Problem(404, `the API has no ${request.method} ${request.path}`);
};

/** Errors as problems; what is unforeseen is logged, and told without detail. */
export function answerProblem(log: Logger): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    if (response.destroyed || response.writableEnded) return; // the receiver went away
    const status = statusOf(error);
    if (status >= 500) log.error({ error, method: request.method, route: request.route }, 'request failed');
    if (response.headersSent) {
      response.destroy(); // the receiver sees that the answer is not whole
      return;
    }
    const detail = status === 500 ? 'see the log of the node' : (error as Error).message;
    sendProblem(response, status, detail);
  };
}

/** Answers with a problem (RFC 9457). */
export function sendProblem(response: Response, status: number, detail: string): void {
  const title = titles[status as ProblemStatus] ?? 'Bad request';
  response.status(status).type('application/problem+json').send(JSON.stringify({ status, title, detail }));
}

function statusOf(error: unknown): number {
  if (error instanceof Problem) return error.status;
  const status = (error as { status?: unknown }).status; // of express, for a malformed path or body
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500;
}
