import { Router } from 'express';
import { z } from 'zod';
import { version } from '../version.ts';
import { bundleRoutes } from './bundle-routes.ts';
import type { ApiContext } from './context.ts';
import { driftRoutes } from './drift-routes.ts';
import { eventRoutes } from './event-routes.ts';
import { jobRoutes } from './job-routes.ts';
import { openApi } from './openapi.ts';
import { answerProblem, answerUnknown } from './problem.ts';
import { answerSchema, mount, route, type Route } from './route.ts';
import { retrainingRoutes } from './retraining-routes.ts';
import { ruleRoutes } from './rule-routes.ts';
import { sessionRoutes } from './session-routes.ts';
import { studyRoutes } from './study-routes.ts';

/** Where the JSON API is below the node's address. */
export const apiPath = '/api/v1';

/** Every operation of the API. */
export function apiRoutes(context: ApiContext): Route[] {
  return [
    nodeRoute,
    ...sessionRoutes(context),
    ...studyRoutes(context),
    ...jobRoutes(context),
    ...bundleRoutes(context),
    ...ruleRoutes(context),
    ...driftRoutes(context),
    ...retrainingRoutes(context),
    ...eventRoutes(context),
  ];
}

const nodeRoute = route({
  method: 'get',
  path: '/node',
  summary: 'What answers here',
  answer: answerSchema('Node', z.object({ name: z.string(), version: z.string() })),
  handle: () => ({ name: 'QFAE', version }),
});

/** The JSON API, and its description at `/openapi.json`. */
export function apiRouter(context: ApiContext): Router {
  const router = Router();
  const routes = apiRoutes(context);
  for (const one of routes) mount(router, one);
  const description = openApi(routes, apiPath);
  router.get('/openapi.json', (_request, response) => {
    response.json(description);
  });
  router.use(answerUnknown);
  router.use(answerProblem(context.log));
  return router;
}
