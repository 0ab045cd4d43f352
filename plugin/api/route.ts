import express, { type Request, type Response, type Router } from 'express';
import { z } from 'zod';
import { Problem, type ProblemStatus } from './problem.ts';

/** Named schemas of answers: components of the OpenAPI description. */
export const answers = z.registry<{ id: string }>();

/** Gives the schema of an answer its name in the OpenAPI description. */
export function answerSchema<Schema extends z.ZodType>(id: string, schema: Schema): Schema {
  answers.add(schema, { id });
  return schema;
}

/** What a handler gets, checked. */
interface Input<Parameters, Query, Body> {
  parameters: Parameters;
  query: Query;
  body: Body;
  request: Request;
  response: Response;
}

/** One operation of the API: what it takes, what it answers, and how. Its description is made of the same schemas. */
export interface Route<
  Parameters extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
  Answer extends z.ZodType = z.ZodType,
> {
  method: 'get' | 'post';
  /** Below the root of the API, with `{name}` for a parameter. */
  path: string;
  summary: string;
  parameters?: Parameters;
  query?: Query;
  body?: Body;
  /** The schema of a JSON answer, registered in `answers`; or the media type of one that the handler sends itself. */
  answer: Answer | string;
  /** The problems that it may answer beside 400 and 500. */
  problems?: ProblemStatus[];
  /** Answers; what it returns is sent as JSON. */
  handle: (
    input: Input<z.output<Parameters>, z.output<Query>, z.output<Body>>,
  ) => Promise<z.input<Answer> | undefined> | z.input<Answer>;
}

/** A route whose handler knows the types of what it takes and answers. */
export function route<
  Parameters extends z.ZodType = z.ZodUndefined,
  Query extends z.ZodType = z.ZodUndefined,
  Body extends z.ZodType = z.ZodUndefined,
  Answer extends z.ZodType = z.ZodUndefined,
>(definition: Route<Parameters, Query, Body, Answer>): Route {
  return definition;
}

const readBody = express.json({ limit: '100kb' });

/** Serves a route. */
export function mount(
  router: Router,
  { method, path, parameters, query, body, answer, handle }: Route,
): void {
  const pattern = path.replace(/\{(\w+)\}/g, ':$1');
  router[method](pattern, ...(body ? [readBody] : []), async (request, response) => {
    if (method === 'post') requireSameOrigin(request);
    if (body && !request.is('application/json')) throw new Problem(415, 'the body must be application/json');
    const result = await handle({
      parameters: checked('path', parameters, request.params),
      query: checked('query', query, request.query),
      body: checked('body', body, request.body as unknown),
      request,
      response,
    });
    if (typeof answer !== 'string') response.json(result);
    else response.end();
  });
}

/** A page of another site must not be able to change anything through a reader's browser. */
function requireSameOrigin(request: Request): void {
  const origin = request.get('origin');
  if (origin === undefined) return;
  if (!URL.canParse(origin) || new URL(origin).host !== request.get('host')) {
    throw new Problem(403, 'pages of another origin may not change anything');
  }
}

/** @throws Problem 400 naming each part that is wrong. */
function checked(place: string, schema: z.ZodType | undefined, value: unknown): unknown {
  if (!schema) return undefined;
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Problem(
    400,
    parsed.error.issues
      .map(({ path, message }) => `${[place, ...path.map(String)].join('.')}: ${message}`)
      .join('; '),
  );
}
