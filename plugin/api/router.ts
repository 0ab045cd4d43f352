import { Router } from 'express';
import { bundleRoutes } from './bundle-routes.ts';
import type { ApiContext } from './context.ts';
import { databaseRoutes } from './database-routes.ts';
import { driftRoutes } from './drift-routes.ts';
import { eventRoutes } from './event-routes.ts';
import { jobRoutes } from './job-routes.ts';
import { nodeRoutes } from './node-routes.ts';
import { openApi } from './openapi.ts';
import { answerProblem, answerUnknown } from './problem.ts';
import { reportRoutes } from './report-routes.ts';
import { retrainingRoutes } from './retraining-routes.ts';
import { mount, type Route } from './route.ts';
import { ruleRoutes } from './rule-routes.ts';
import { sessionRoutes } from './session-routes.ts';
import { sliceRoutes } from './slice-routes.ts';
import { studyRoutes } from './study-routes.ts';

/** Where the JSON API is below the node's address. */
export const apiPath = '/api/v1';

/** Every operation of the API. */
export function apiRoutes(context: ApiContext): Route[] {
  return [
    ...nodeRoutes(context),
    ...sessionRoutes(context),
    ...studyRoutes(context),
    ...sliceRoutes(context),
    ...reportRoutes(context),
    ...jobRoutes(context),
    ...bundleRoutes(context),
    ...ruleRoutes(context),
    ...databaseRoutes(context),
    ...driftRoutes(context),
    ...retrainingRoutes(context),
    ...eventRoutes(context),
  ];
}

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
