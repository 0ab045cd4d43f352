import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { version } from '../version.ts';
import { problemSchema } from './problem.ts';
import { answers, type Route } from './route.ts';

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** The OpenAPI 3.1 description of `routes`, made of the schemas that check what they take and answer. */
export function openApi(routes: readonly Route[], root: string) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) (paths[route.path] ??= {})[route.method] = operation(route);
  return {
    openapi: '3.1.0',
    info: {
      title: 'QFAE node',
      version,
      description: 'Studies with their anomaly scores, jobs, bundles, rules, readers’ feedback and events.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: root }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      schemas: { ...components(), Problem: jsonSchema(problemSchema, 'output') },
    },
  };
}

function operation({ method, path, summary, parameters, query, body, answer, problems = [] }: Route) {
  const expected = parameters || query || body ? [400 as const, ...problems] : problems;
  return {
    operationId: `${method}${path.replace(/\W+(\w)/g, (_, letter: string) => letter.toUpperCase()).replace(/\W/g, '')}`,
    summary,
    parameters: [...parametersIn('path', parameters), ...parametersIn('query', query)],
    ...(body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: jsonSchema(body, 'input') } },
      },
    }),
    responses: {
      200: {
        description: 'Done',
        content:
          typeof answer === 'string'
            ? { [answer]: {} }
            : { 'application/json': { schema: { $ref: reference(answers.get(answer)!.id) } } },
      },
      ...Object.fromEntries(
        [...new Set([...expected, 401 as const, 403 as const, 429 as const, 500 as const])].map((status) => [
          status,
          {
            description: STATUS_CODES[status],
            content: { 'application/problem+json': { schema: { $ref: reference('Problem') } } },
          },
        ]),
      ),
    },
  };
}

function parametersIn(place: 'path' | 'query', schema: z.ZodType | undefined) {
  if (!schema) return [];
  const { properties = {}, required = [] } = jsonSchema(schema, 'input');
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: required.includes(name),
    schema: property,
  }));
}

function components(): Record<string, JsonSchema> {
  const { schemas } = z.toJSONSchema(answers, { uri: reference, io: 'output' });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, withoutKeys(schema)]));
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  return withoutKeys(z.toJSONSchema(schema, { io }));
}

/** `$schema` and `$id` belong to schemas that stand alone. */
function withoutKeys({ $schema, $id, ...schema }: JsonSchema): JsonSchema {
  return schema;
}

function reference(id: string): string {
  return `#/components/schemas/${id}`;
}
