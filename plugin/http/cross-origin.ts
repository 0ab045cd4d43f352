import cors from 'cors';
import type { RequestHandler } from 'express';

/** Lets pages of `origins`, and of no other, use what follows (the fetch standard's CORS protocol). */
export function allowOrigins(origins: string[]): RequestHandler {
  const allow = cors({
    origin: origins,
    methods: ['GET', 'HEAD', 'POST', 'DELETE'],
    exposedHeaders: ['Warning'],
    maxAge: 600,
  });
  return (request, response, next) => {
    // An OPTIONS request that is no preflight asks for what a resource can do.
    const answersItself = request.method === 'OPTIONS' && !request.get('access-control-request-method');
    if (origins.length === 0 || answersItself) next();
    else allow(request, response, next);
  };
}
