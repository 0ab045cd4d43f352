import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Router, type Request, type Response } from 'express';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { isUID } from '../../dicom/uid.ts';
import type { Database } from '../database/database.ts';
import type { Level } from '../store/attributes.ts';
import type { StoredInstance } from '../store/instance-store.ts';
import { acceptedMediaTypes, covers } from './media-type.ts';
import { writeParts, type OutgoingPart } from './multipart.ts';
import { parseQuery, search } from './query.ts';
import {
  frameParts,
  instanceParts,
  metadata,
  parseRendering,
  renderFrame,
  RetrieveError,
} from './retrieve.ts';
import { storeInstances, type StoreContext } from './store.ts';

/** Where the DICOMweb service is below the node's address. */
export const dicomWebPath = '/dicom-web';

/** The longer side of a thumbnail, in pixels. */
const thumbnailSize = 128;

/** The node's DICOMweb service: STOW-RS, QIDO-RS and WADO-RS (PS3.18 chapter 10). */
export function dicomWebRouter(context: StoreContext & { database: Database }): Router {
  const { database, store, pool } = context;
  const router = Router();

  const answerStore = async (request: Request, response: Response, study?: string) => {
    const type = request.get('content-type');
    const { status, body } = await storeInstances(context, type, request, rootOf(request), study);
    response.status(status);
    if (body) response.type('application/dicom+json').send(JSON.stringify(body));
    else response.end();
  };
  router.post('/studies', (request, response) => answerStore(request, response));
  router.post('/studies/:study', (request, response) =>
    answerStore(request, response, uid(request, 'study')),
  );

  const answerSearch = (level: Level) => async (request: Request, response: Response) => {
    requireJson(request);
    const within = {
      ...(request.params['study'] !== undefined && { '0020000D': uid(request, 'study') }),
      ...(request.params['series'] !== undefined && { '0020000E': uid(request, 'series') }),
    };
    const query = parseQuery(level, parametersOf(request), within);
    const found = await search(database, query, rootOf(request));
    if (query.unsupported.length > 0) {
      response.set('Warning', `299 qfae "these attributes are not matched: ${query.unsupported.join(', ')}"`);
    }
    response.type('application/dicom+json').send(JSON.stringify(found));
  };
  router.get('/studies', answerSearch('study'));
  router.get('/series', answerSearch('series'));
  router.get('/instances', answerSearch('instance'));
  router.get('/studies/:study/series', answerSearch('series'));
  router.get('/studies/:study/instances', answerSearch('instance'));
  router.get('/studies/:study/series/:series/instances', answerSearch('instance'));

  const requested = async (request: Request): Promise<StoredInstance[]> => {
    const series = request.params['series'] === undefined ? undefined : uid(request, 'series');
    const instance = request.params['instance'] === undefined ? undefined : uid(request, 'instance');
    const instances = await store.find(uid(request, 'study'), series, instance);
    if (instances.length === 0) throw new RetrieveError(404, 'nothing is stored under these UIDs');
    return instances;
  };
  const firstPicture = async (instances: StoredInstance[]) => {
    for (const instance of instances) {
      if ((await pool.readHeader(store.path(instance))).hasPixelData) return instance;
    }
    throw new RetrieveError(404, 'nothing with pixel data is stored under these UIDs');
  };
  const one = async (request: Request) => (await requested(request))[0];

  for (const path of ['/studies/:study', '/studies/:study/series/:series', instancePath]) {
    router.get(path, async (request, response) => {
      const instances = await requested(request);
      const [wanted] = acceptedMediaTypes(request.get('accept'));
      if (wanted?.type === 'application/dicom' && instances.length === 1) {
        response.type('application/dicom');
        await pipeline(createReadStream(store.path(instances[0])), response);
        return;
      }
      const parts = instanceParts(store, instances, request.get('accept'));
      await sendMultipart(response, 'application/dicom', parts);
    });
    router.get(`${path}/metadata`, async (request, response) => {
      requireJson(request);
      const datasets = metadata(store, pool, await requested(request));
      await sendJsonArray(response, datasets);
    });
    router.get(`${path}/thumbnail`, async (request, response) => {
      const rendering = { viewport: [thumbnailSize, thumbnailSize] as [number, number] };
      const picture = await firstPicture(await requested(request));
      await sendPicture(response, picture, 1, rendering, request.get('accept'));
    });
  }
  router.get(`${instancePath}/frames/:frames`, async (request, response) => {
    const frames = request.params['frames'];
    const parts = await frameParts(store, pool, await one(request), frames, request.get('accept'));
    await sendMultipart(response, undefined, parts);
  });
  router.get(`${instancePath}/rendered`, async (request, response) => {
    const rendering = parseRendering(parametersOf(request));
    await sendPicture(response, await one(request), 1, rendering, request.get('accept'));
  });
  router.get(`${instancePath}/frames/:frame/rendered`, async (request, response) => {
    const frame = Number(request.params['frame']);
    if (!Number.isInteger(frame) || frame < 1) throw new RetrieveError(400, 'frames are counted from 1');
    const rendering = parseRendering(parametersOf(request));
    await sendPicture(response, await one(request), frame, rendering, request.get('accept'));
  });

  const sendPicture = async (
    response: Response,
    instance: StoredInstance,
    frame: number,
    rendering: ReturnType<typeof parseRendering>,
    accept: string | undefined,
  ) => {
    const { mediaType, bytes } = await renderFrame(store, pool, instance, frame, rendering, accept);
    response.type(mediaType).send(bytes);
  };
  return router;
}

const instancePath = '/studies/:study/series/:series/instances/:instance';

/** Sends a multipart message as its parts are made; the first is made before the status is sent. */
async function sendMultipart(
  response: Response,
  partType: string | undefined,
  parts: Iterable<OutgoingPart> | AsyncIterable<OutgoingPart>,
): Promise<void> {
  const waiting = Symbol.asyncIterator in parts ? parts[Symbol.asyncIterator]() : parts[Symbol.iterator]();
  const first = await waiting.next();
  if (first.done) throw new RetrieveError(404, 'nothing is stored under these UIDs');
  const all = async function* () {
    yield first.value;
    for (let next = await waiting.next(); !next.done; next = await waiting.next()) yield next.value;
  };
  const boundary = randomUUID();
  const type = partType ?? first.value.contentType.split(';')[0];
  response.set('Content-Type', `multipart/related; type="${type}"; boundary=${boundary}`);
  await pipeline(Readable.from(writeParts(all(), boundary), { objectMode: false }), response);
}

async function sendJsonArray(response: Response, items: AsyncGenerator<DicomJson>): Promise<void> {
  const first = await items.next();
  response.type('application/dicom+json');
  const text = async function* () {
    yield first.done ? '[' : `[${JSON.stringify(first.value)}`;
    for await (const item of items) yield `,${JSON.stringify(item)}`;
    yield ']';
  };
  await pipeline(Readable.from(text()), response);
}

/** A UID of the path. @throws RetrieveError 400 if it is none. */
function uid(request: Request, name: string): string {
  const value = request.params[name];
  if (typeof value !== 'string' || !isUID(value)) throw new RetrieveError(400, `${name}: not a UID`);
  return value;
}

function requireJson(request: Request): void {
  const types = ['application/dicom+json', 'application/json'];
  const accepted = acceptedMediaTypes(request.get('accept'));
  if (!accepted.some((mediaType) => types.some((type) => covers(mediaType, type)))) {
    throw new RetrieveError(406, 'to be had as application/dicom+json');
  }
}

function parametersOf(request: Request): URLSearchParams {
  return new URL(request.originalUrl, 'http://node').searchParams;
}

/** Where this service is, as the sender of the request sees it. */
function rootOf(request: Request): string {
  return `${request.protocol}://${request.get('host') ?? 'localhost'}${dicomWebPath}`;
}
