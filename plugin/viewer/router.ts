import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import express, { Router, type RequestHandler } from 'express';
import type { Settings } from '../settings.ts';
import { hasViewer, viewerFolder } from './install.ts';

/**
 * Serves OHIF, where it is installed: its page at `/viewer`, with `?StudyInstanceUIDs=…`, and its files, which it looks
 * for at the root.
 */
export function viewerRouter({ data, viewer }: Pick<Settings, 'data' | 'viewer'>): Router {
  const router = Router();
  const origins = Object.values(viewer.roots).flatMap((root) => URL.parse(root)?.origin ?? []);
  const files = express.static(viewerFolder(data), { index: false, redirect: false });
  const installed: RequestHandler = (_request, _response, next) => {
    next(hasViewer(data) ? undefined : 'router');
  };
  router.use(installed);
  router.get('/app-config.js', (_request, _response, next) => {
    next('router'); // the node's own is behind the guard
  });
  // It would stand between the browser and the dashboard as well.
  router.get('/init-service-worker.js', (_request, response) => {
    response.type('js').send('');
  });
  router.get(['/viewer', '/viewer/*path'], (_request, response) => {
    const page = readFileSync(join(viewerFolder(data), 'index.html'), 'utf8');
    response.set('Content-Security-Policy', policy(origins, page)).type('html').send(page);
  });
  router.use((request, response, next) => {
    if (
      /^\/(assets\/|ort\/|dicom-microscopy-viewer\/|[\w.-]+\.(js|css|wasm|woff2|svg|json)$)/.test(
        request.path,
      )
    ) {
      // Of a worker, the policy of its own file holds.
      const own = response.getHeader('Content-Security-Policy');
      response.set('Content-Security-Policy', policy(origins));
      files(request, response, (error?: unknown) => {
        if (own !== undefined) response.set('Content-Security-Policy', own as string);
        next(error);
      });
    } else next();
  });
  return router;
}

/**
 * What OHIF needs beside the node itself: its decoders are WebAssembly in workers, its pictures are made in memory, and
 * for segments it compiles functions at run time (ndarray).
 */
function policy(origins: string[], page = ''): string {
  const inline = [...page.matchAll(/<script>(.*?)<\/script>/gs)].map(
    ([, script]) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  );
  return [
    "default-src 'self'",
    `script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval' blob: ${inline.join(' ')}`,
    "worker-src 'self' blob:",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    ["connect-src 'self' data: blob:", ...new Set(origins)].join(' '),
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
