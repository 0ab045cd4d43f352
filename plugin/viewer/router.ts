import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import express, { Router, type RequestHandler } from 'express';
import { dicomWebPath } from '../dicomweb/router.ts';
import { hasViewer, viewerFolder } from './install.ts';

/** How OHIF finds the node's DICOMweb; the keys are those of its data sources. */
const configuration = {
  name: 'QFAE',
  routerBasename: '/',
  extensions: [],
  modes: [],
  showStudyList: false, // the worklist is the node's own
  showLoadingIndicator: true,
  showWarningMessageForCrossOrigin: false,
  maxNumberOfWebWorkers: 2,
  defaultDataSourceName: 'node',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'node',
      configuration: {
        friendlyName: 'QFAE node',
        name: 'node',
        wadoUriRoot: dicomWebPath,
        qidoRoot: dicomWebPath,
        wadoRoot: dicomWebPath,
        qidoSupportsIncludeField: true,
        supportsReject: false,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true },
      },
    },
  ],
};

/**
 * Serves OHIF, where it is installed: its page at `/viewer`, with `?StudyInstanceUIDs=…`, and its files, which it looks
 * for at the root.
 */
export function viewerRouter(dataFolder: string): Router {
  const router = Router();
  const files = express.static(viewerFolder(dataFolder), { index: false, redirect: false });
  const installed: RequestHandler = (_request, _response, next) => {
    next(hasViewer(dataFolder) ? undefined : 'router');
  };
  router.use(installed);
  router.get('/app-config.js', (_request, response) => {
    response.type('js').send(`window.config = ${JSON.stringify(configuration)};`);
  });
  // It would stand between the browser and the dashboard as well.
  router.get('/init-service-worker.js', (_request, response) => {
    response.type('js').send('');
  });
  router.get(['/viewer', '/viewer/*path'], (_request, response) => {
    const page = readFileSync(join(viewerFolder(dataFolder), 'index.html'), 'utf8');
    response.set('Content-Security-Policy', policy(page)).type('html').send(page);
  });
  router.use((request, response, next) => {
    if (
      /^\/(assets\/|ort\/|dicom-microscopy-viewer\/|[\w.-]+\.(js|css|wasm|woff2|svg|json)$)/.test(
        request.path,
      )
    ) {
      // Of a worker, the policy of its own file holds.
      const own = response.getHeader('Content-Security-Policy');
      response.set('Content-Security-Policy', policy(''));
      files(request, response, (error?: unknown) => {
        if (own !== undefined) response.set('Content-Security-Policy', own as string);
        next(error);
      });
    } else next();
  });
  return router;
}

/** What OHIF needs beside the node itself: its decoders are WebAssembly in workers, its pictures are made in memory. */
function policy(page: string): string {
  const inline = [...page.matchAll(/<script>(.*?)<\/script>/gs)].map(
    ([, script]) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  );
  return [
    "default-src 'self'",
    `script-src 'self' 'wasm-unsafe-eval' blob: ${inline.join(' ')}`,
    "worker-src 'self' blob:",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self' data: blob:",
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
