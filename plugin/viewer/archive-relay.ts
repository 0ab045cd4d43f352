import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { RequestHandler } from 'express';
import type { Archive } from '../archive/archive.ts';

/** Route of the DICOMweb services of archives, as viewers read them through the node. */
export const archiveRelayPath = '/archives/:archive/dicom-web/*path';

/** Root of an archive's DICOMweb service at the node. */
export function relayedRoot(archive: string): string {
  return `/archives/${archive}/dicom-web`;
}

/** Searches, metadata, frames, bulk data and pictures below studies, series and instances (PS3.18 chapter 10). */
const resource = /^\/(studies|series|instances)(\/(?!\.\.?(\/|\?|$))[\w.,~-]+)*\/?(\?|$)/;

/** Of an archive's answer, what goes on to the viewer. */
const relayedHeaders = ['content-type', 'content-length', 'warning'];

/**
 * Answers what a viewer reads of an archive with the archive's own answer. The node has the credentials, and the
 * viewer's page is of the node's origin: the archive need neither know browsers nor allow them anything.
 */
export function archiveRelay(archives: ReadonlyMap<string, Archive>): RequestHandler {
  return async (request, response, next) => {
    const name = String(request.params['archive']);
    const root = relayedRoot(name);
    const archive = archives.get(name);
    const path = request.url.slice(root.length);
    if (!archive?.get || !resource.test(path)) {
      next();
      return;
    }
    const given = new AbortController();
    response.once('close', () => {
      given.abort();
    });
    const accept = request.get('accept') ?? '*/*';
    // Of what a browser can show, only the default of rendered pictures (PS3.18 table 8.7.4-1) is asked for: Orthanc
    // refuses a list.
    const picture = accept.includes('image/') && request.accepts('image/jpeg');
    const answer = await archive
      .get(path, picture ? 'image/jpeg' : accept, given.signal)
      .catch(() => undefined);
    if (given.signal.aborted) return;
    if (!answer || [401, 403, 407].includes(answer.status)) {
      await answer?.body?.cancel();
      const error = answer
        ? `${name} does not let the node read: it answered ${answer.status}`
        : `${name} cannot be asked`;
      response.status(502).json({ error });
      return;
    }
    response.status(answer.status).set('Cache-Control', 'no-store');
    for (const header of relayedHeaders) {
      const value = answer.headers.get(header);
      if (value !== null) response.set(header, value);
    }
    if (/^application\/(dicom\+)?json\b/.test(answer.headers.get('content-type') ?? '')) {
      response.removeHeader('content-length'); // addresses change
      response.end(
        withBulkDataAt(`${request.protocol}://${request.get('host') ?? ''}${root}`, await answer.text()),
      );
    } else if (answer.body) await pipeline(Readable.fromWeb(answer.body), response);
    else response.end();
  };
}

/** An archive names its bulk data by the address at which the node asked it. */
function withBulkDataAt(root: string, json: string): string {
  return json.replace(/("BulkDataURI"\s*:\s*")[^"]*?(?=\/studies\/)/g, `$1${root}`);
}
