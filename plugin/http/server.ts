import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { fileURLToPath } from 'node:url';
import express, { type ErrorRequestHandler, type Express } from 'express';
import helmet from 'helmet';
import { guard } from '../access/guard.ts';
import { dicomWebPath, dicomWebRouter, type DicomWebContext } from '../dicomweb/router.ts';
import { QueryError } from '../dicomweb/query.ts';
import { RetrieveError } from '../dicomweb/retrieve-error.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import type { ApiContext } from '../api/context.ts';
import { requireAllowedHost } from './allowed-host.ts';
import { allowOrigins } from './cross-origin.ts';
import { limitRate, refuseSlowBodies } from './limits.ts';
import { nameRequest, requestID } from './request-id.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Settings } from '../settings.ts';
import { readCertificate } from './certificate.ts';
import { apiPath, apiRouter } from '../api/router.ts';
import { archiveRelay, archiveRelayPath } from '../viewer/archive-relay.ts';
import { viewerConfiguration } from '../viewer/configuration.ts';
import { viewerRouter } from '../viewer/router.ts';

/** What the HTTP service needs of the node. */
export interface ServerContext extends DicomWebContext, ApiContext {
  settings: ApiContext['settings'] & Pick<Settings, 'http' | 'limits'>;
  /** Names that the Host header may hold; undefined where any is served. */
  allowedHosts: string[] | undefined;
  metrics: Metrics;
  /** Told that an archive may hold something new. */
  onHint: () => void;
}

/** The node's HTTP service: DICOMweb, JSON API, hints of Orthanc, health, dashboard. */
export function createHttpServer(context: ServerContext): Server {
  const { http, limits } = context.settings;
  const options = { connectionsCheckingInterval: 5000 };
  const app = createApp(context);
  const server = http.tls
    ? createTlsServer({ ...options, ...readCertificate(http.tls) }, app)
    : createServer(options, app);
  server.requestTimeout = limits.requestSeconds * 1000; // a study may take long to come
  server.headersTimeout = limits.stallSeconds * 1000;
  server.keepAliveTimeout = 65_000; // longer than proxies keep theirs
  server.timeout = 120_000;
  server.maxConnections = limits.connections;
  return server;
}

/** What answers the requests. Whatever stands before the guard is open to anyone. */
export function createApp(context: ServerContext): Express {
  const { http, limits } = context.settings;
  const app = express();
  app.disable('x-powered-by');
  if (http.behindProxy) app.set('trust proxy', 1);
  app.use(
    nameRequest,
    context.metrics.countRequests,
    securityHeaders(http.tls !== undefined || http.behindProxy),
  );
  if (context.allowedHosts) app.use(requireAllowedHost(context.allowedHosts));
  app.use(limitRate(limits.requestsPerMinute), refuseSlowBodies(limits.stallSeconds * 1000));
  app.use(express.static(fileURLToPath(new URL('../dashboard', import.meta.url))));
  app.use(
    '/lit-html',
    express.static(fileURLToPath(new URL('../../node_modules/lit-html', import.meta.url))),
  );
  app.use(viewerRouter(context.settings));
  app.use(dicomWebPath, allowOrigins(http.allowedOrigins)); // answers preflights, which carry no credentials
  app.use(guard(context, context.identify));
  app.use(dicomWebPath, dicomWebRouter(context));
  app.get(archiveRelayPath, archiveRelay(context.archives));
  app.get('/app-config.js', viewerConfiguration(context));
  app.use(apiPath, apiRouter(context));
  app.post('/hooks/orthanc', (_request, response) => {
    context.onHint();
    response.status(202).end(); // at once: Orthanc's Lua waits for the answer
  });
  app.get('/healthz', (_request, response) => {
    response.json({ status: 'ok' });
  });
  app.get('/metrics', async (_request, response) => {
    const { registry } = context.metrics;
    response.type(registry.contentType).send(await registry.metrics());
  });
  app.get('/readyz', async (_request, response) => {
    const ready = await context.database.query('select 1').then(
      () => true,
      () => false, // what needs the database says so in the log
    );
    if (ready) response.json({ status: 'ready' });
    else response.status(503).json({ status: 'not ready', error: 'the database does not answer' });
  });
  app.use((_request, response) => {
    response.status(404).json({ error: 'no such resource' });
  });
  app.use(answerError(context));
  return app;
}

/** @param encrypted whether browsers reach the node by HTTPS, and shall go on to do so */
function securityHeaders(encrypted: boolean) {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        'default-src': ["'self'"],
        'object-src': ["'none'"],
        'base-uri': ["'none'"],
        'frame-ancestors': ["'none'"],
        'form-action': ["'self'"],
      },
    },
    strictTransportSecurity: encrypted,
  });
}

/** Errors as JSON with the status that the standard names; what is unforeseen is logged, and told without detail. */
function answerError({ log }: ServerContext): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    if (response.destroyed || response.writableEnded) return; // the receiver went away
    const status = statusOf(error);
    const message = status < 500 ? (error as Error).message : 'internal error';
    if (status >= 500) {
      log.error({ error, method: request.method, request: requestID(response) }, 'request failed');
    }
    if (response.headersSent) {
      response.destroy(); // the receiver sees that the answer is not whole
      return;
    }
    response.status(status).json({ error: message });
  };
}

function statusOf(error: unknown): number {
  if (error instanceof RetrieveError) return error.status;
  if (error instanceof QueryError) return 400;
  if (error instanceof DicomError) return ['unsupported', 'colour'].includes(error.reason) ? 406 : 500;
  const status = (error as { status?: unknown }).status; // of express, for a malformed path
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500;
}
