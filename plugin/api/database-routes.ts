import { join } from 'node:path';
import { z } from 'zod';
import type { ApiContext } from './context.ts';
import { Problem } from './problem.ts';
import { answerSchema, route, type Route } from './route.ts';

const databaseSchema = answerSchema(
  'Database',
  z.object({
    /** Whether it runs in the node; else it is a PostgreSQL server with backups of its own. */
    embedded: z.boolean(),
  }),
);

/** What `qfae backup` asks of a running node. */
export function databaseRoutes({ database, settings }: ApiContext): Route[] {
  return [
    route({
      method: 'get',
      path: '/database',
      summary: 'Where the database runs',
      answer: databaseSchema,
      handle: () => ({ embedded: database.embedded }),
    }),
    route({
      method: 'post',
      path: '/database/copy',
      summary: 'Write a copy of the embedded database to database.tar in the data folder, for a backup',
      body: z.strictObject({}),
      answer: databaseSchema,
      problems: [409, 415],
      async handle() {
        if (!database.copy) throw new Problem(409, 'the database is a server of its own: pg_dump copies it');
        await database.copy(join(settings.data, 'database.tar'));
        return { embedded: true };
      },
    }),
  ];
}
