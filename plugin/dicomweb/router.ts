import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { Router, type Request, type Response } from 'express';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import { nativeDicomModel } from '../../dicom/native-dicom-model.ts';
import { isUID } from '../../dicom/uid.ts';
import type { Database } from '../database/database.ts';
import type { Level } from '../store/attributes.ts';
import type { Settings } from '../settings.ts';
import type { StoredInstance } from '../store/instance-store.ts';
import { sendProblem } from '../api/problem.ts';
import { requestID } from '../http/request-id.ts';
import { ahead } from './ahead.ts';
import { allBulkDataMessage, bulkDataMessage, wantsBulkData, withBulkDataURIs } from './bulk-data.ts';
import { capabilities, wadl } from './capabilities.ts';
import { dataSetForm, json, xml, type DataSetForm } from './data-set-form.ts';
import { frameNumbers, framesMessage } from './frames.ts';
import { instancesMessage } from './instances.ts';
import { acceptedMediaTypes, covers } from './media-type.ts';
import { writeParts, type Message } from './multipart.ts';
import { parseQuery } from './query.ts';
import { parseRendering, pictureType, renderFrame } from './rendered.ts';
import { RetrieveError } from './retrieve-error.ts';
import { search } from './search.ts';
import { storeInstances, type StoreContext } from './store.ts';

/** Where the DICOMweb service is below the node's address. */
export const dicomWebPath = '/dicom-web';

/** Headers that are parsed before their turn. */
const headersAhead = 4;
/** Pictures that are made before their turn. */
const picturesAhead = 1;

/** What the DICOMweb service needs of the node. */
export interface DicomWebContext extends StoreContext {
  limits: Settings['limits'];
  database: Database;
  /** Whether clients may delete. */
  deletion: boolean;
}

/** The node's DICOMweb service: STOW-RS, QIDO-RS, WADO-RS, deletion and capabilities (PS3.18 chapters 8 and 10). */
export function dicomWebRouter(context: DicomWebContext): Router {
  const { database, store, pool } = context;
  const router = Router();

  router.options('/', sendCapabilities);
  router.get('/capabilities', sendCapabilities);

  const answerStore = async (request: Request, response: Response, study?: string) => {
    const { status, body, problem, givenUp } =
      Number(request.get('content-length')) > context.limits.requestBytes
        ? ({ status: 413, body: undefined, problem: undefined, givenUp: true } as const)
        : await storeInstances(
            { ...context, log: context.log.child({ request: requestID(response) }) },
            request.get('content-type'),
            request,
            rootOf(request),
            study,
          );
    if (givenUp) response.set('Connection', 'close');
    if (problem !== undefined) {
      sendProblem(response, status, problem);
      return;
    }
    response.status(status);
    if (!body) response.end();
    else if (dataSetForm(acceptOf(request), false) === 'xml') response.type(xml).send(nativeDicomModel(body));
    else response.type(json).send(JSON.stringify(body));
  };
  router.post('/studies', (request, response) => answerStore(request, response));
  router.post('/studies/:study', (request, response) =>
    answerStore(request, response, uid(request, 'study')),
  );

  const answerSearch = (level: Level) => async (request: Request, response: Response) => {
    const form = acceptedForm(request);
    const within = {
      ...(request.params['study'] !== undefined && { '0020000D': uid(request, 'study') }),
      ...(request.params['series'] !== undefined && { '0020000E': uid(request, 'series') }),
    };
    const query = parseQuery(level, parametersOf(request), within);
    if (query.unsupported.length > 0) {
      response.set('Warning', `299 qfae "these parameters are not heeded: ${query.unsupported.join(', ')}"`);
    }
    await sendDataSets(response, search({ database, store, pool }, query, rootOf(request)), form);
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
  const one = async (request: Request) => store.path((await requested(request))[0]);

  const sendRendered = async (
    request: Request,
    response: Response,
    pictures: Picture[],
    thumbnail: boolean,
  ) => {
    const rendering = parseRendering(parametersOf(request), thumbnail);
    const type = pictureType(acceptOf(request), pictures.length);
    if (rendering.unsupported.length > 0) {
      response.set(
        'Warning',
        `299 qfae "these parameters are not heeded: ${rendering.unsupported.join(', ')}"`,
      );
    }
    const parts = ahead(pictures, picturesAhead, async ({ path, frame }) => ({
      contentType: type,
      body: [await renderFrame(pool, path, frame, rendering, type)],
    }));
    await sendMessage(response, { type, multipart: pictures.length > 1, parts });
  };
  /** The first frame of the first instance that has pixels: what stands for all of them. */
  const firstPicture = async (instances: StoredInstance[]): Promise<Picture> => {
    for (const instance of instances) {
      const path = store.path(instance);
      if ((await pool.readHeader(path)).hasPixelData) return { path, frame: 1 };
    }
    throw new RetrieveError(404, 'nothing with pixel data is stored under these UIDs');
  };
  const everyPicture = async (instances: StoredInstance[]): Promise<Picture[]> => {
    const pictures: Picture[] = [];
    for (const instance of instances) {
      const path = store.path(instance);
      const { numberOfFrames } = await pool.readHeader(path);
      for (let frame = 1; frame <= numberOfFrames; frame++) pictures.push({ path, frame });
    }
    if (pictures.length === 0)
      throw new RetrieveError(404, 'nothing with pixel data is stored under these UIDs');
    return pictures;
  };

  for (const path of ['/studies/:study', '/studies/:study/series/:series', instancePath]) {
    router.get(path, async (request, response) => {
      const instances = await requested(request);
      const accept = acceptOf(request);
      const root = rootOf(request);
      const files = instances.map((one) => ({ file: store.path(one), url: urlOf(root, one) }));
      await sendMessage(
        response,
        wantsBulkData(accept)
          ? allBulkDataMessage(pool, files)
          : instancesMessage(store, pool, instances, accept),
      );
    });
    router.get(`${path}/metadata`, async (request, response) => {
      const form = acceptedForm(request);
      const root = rootOf(request);
      const datasets = ahead(await requested(request), headersAhead, async (instance) =>
        withBulkDataURIs(await pool.readHeader(store.path(instance)), urlOf(root, instance)),
      );
      await sendDataSets(response, datasets, form);
    });
    router.get(`${path}/rendered`, async (request, response) => {
      await sendRendered(request, response, await everyPicture(await requested(request)), false);
    });
    router.get(`${path}/thumbnail`, async (request, response) => {
      await sendRendered(request, response, [await firstPicture(await requested(request))], true);
    });
    router.delete(path, async (request, response) => {
      if (!context.deletion)
        throw new RetrieveError(403, 'deleting is not permitted (setting dicomweb.delete)');
      const instances = await requested(request);
      await store.remove(instances.map(({ sopInstanceUID }) => sopInstanceUID));
      context.log.info(
        { ...request.params, instances: instances.length, request: requestID(response) },
        'deleted by a client',
      );
      response.status(204).end();
    });
  }

  router.get(`${instancePath}/bulkdata/*path`, async (request, response) => {
    const path = request.params['path'].join('/');
    await sendMessage(response, await bulkDataMessage(pool, await one(request), path, acceptOf(request)));
  });
  router.get(`${instancePath}/frames/:frames`, async (request, response) => {
    const path = await one(request);
    const frames = frameNumbers(request.params['frames'], await pool.readHeader(path));
    await sendMessage(response, await framesMessage(pool, path, frames, acceptOf(request)));
  });
  for (const [resource, thumbnail] of [
    ['rendered', false],
    ['thumbnail', true],
  ] as const) {
    router.get(`${instancePath}/frames/:frames/${resource}`, async (request, response) => {
      const path = await one(request);
      const frames = frameNumbers(request.params['frames'], await pool.readHeader(path));
      const pictures = frames.map((frame) => ({ path, frame }));
      await sendRendered(request, response, pictures, thumbnail);
    });
  }
  return router;
}

/** A frame of a stored file. */
interface Picture {
  path: string;
  frame: number;
}

const instancePath = '/studies/:study/series/:series/instances/:instance';

function urlOf(
  root: string,
  { studyInstanceUID, seriesInstanceUID, sopInstanceUID }: StoredInstance,
): string {
  return `${root}/studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
}

/** Sends parts as they are made; the first is made before the status is sent. */
async function sendMessage(response: Response, { type, multipart, parts }: Message): Promise<void> {
  const waiting = Symbol.asyncIterator in parts ? parts[Symbol.asyncIterator]() : parts[Symbol.iterator]();
  const first = await waiting.next();
  if (first.done) throw new RetrieveError(404, 'nothing is stored under these UIDs');
  const body = await begun(first.value.body);
  if (!multipart) {
    response.set('Content-Type', first.value.contentType);
    await sendPieces(response, body);
    return;
  }
  const all = async function* () {
    yield { ...first.value, body };
    for (let next = await waiting.next(); !next.done; next = await waiting.next()) yield next.value;
  };
  const boundary = randomUUID();
  response.set('Content-Type', `multipart/related; type="${type}"; boundary=${boundary}`);
  await sendPieces(response, writeParts(all(), boundary));
}

/**
 * Sends pieces as the receiver takes them. One of `lentBytes` fills the answer's buffer, so that it has been sent
 * when the next is asked for.
 */
async function sendPieces(response: Response, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  const left = new AbortController();
  response.once('close', () => {
    left.abort();
  });
  for await (const piece of pieces) {
    if (response.destroyed) throw new Error('the receiver went away');
    if (!response.write(piece)) await once(response, 'drain', { signal: left.signal });
  }
  response.end();
  await finished(response);
}

/** The same bytes, the first of which are there: what cannot be begun fails here, not in mid-answer. */
async function begun(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<AsyncGenerator<Uint8Array>> {
  const waiting = Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]();
  const first = await waiting.next();
  return (async function* () {
    for (let next = first; !next.done; next = await waiting.next()) yield next.value;
  })();
}

/** Sends data sets as one JSON array, or each as a part in XML; none in XML are no content (PS3.18 section 10.6.3). */
async function sendDataSets(
  response: Response,
  datasets: AsyncGenerator<DicomJson>,
  form: DataSetForm,
): Promise<void> {
  const first = await datasets.next();
  if (form === 'json') {
    response.type(json);
    const text = async function* () {
      yield first.done ? '[' : `[${JSON.stringify(first.value)}`;
      for await (const dataset of datasets) yield `,${JSON.stringify(dataset)}`;
      yield ']';
    };
    await pipeline(Readable.from(text()), response);
    return;
  }
  if (first.done) {
    response.status(204).end();
    return;
  }
  const part = (dataset: DicomJson) => ({ contentType: xml, body: [Buffer.from(nativeDicomModel(dataset))] });
  const parts = async function* () {
    yield part(first.value);
    for await (const dataset of datasets) yield part(dataset);
  };
  await sendMessage(response, { type: xml, multipart: true, parts: parts() });
}

function sendCapabilities(request: Request, response: Response): void {
  const types = ['application/vnd.sun.wadl+xml', 'application/xml', 'application/json', json];
  const accepted = acceptedMediaTypes(acceptOf(request));
  const type = accepted.flatMap((one) => types.find((offered) => covers(one, offered)) ?? []).at(0);
  if (type === undefined) throw new RetrieveError(406, `to be had as ${types.join(', ')}`);
  response.type(type).send(type.endsWith('json') ? JSON.stringify(capabilities) : wadl(rootOf(request)));
}

/** A UID of the path. @throws RetrieveError 400 if it is none. */
function uid(request: Request, name: string): string {
  const value = request.params[name];
  if (typeof value !== 'string' || !isUID(value)) throw new RetrieveError(400, `${name}: not a UID`);
  return value;
}

/** How a search or metadata are answered. @throws RetrieveError 406 */
function acceptedForm(request: Request): DataSetForm {
  const form = dataSetForm(acceptOf(request), true);
  if (form) return form;
  throw new RetrieveError(406, `to be had as ${json} or multipart/related; type="${xml}"`);
}

/** What the client accepts: the query parameter stands for the header where one cannot be sent (8.3.3.1). */
function acceptOf(request: Request): string | undefined {
  return parametersOf(request).get('accept') ?? request.get('accept');
}

function parametersOf(request: Request): URLSearchParams {
  return new URL(request.originalUrl, 'http://node').searchParams;
}

/** Where this service is, as the sender of the request sees it. */
function rootOf(request: Request): string {
  return `${request.protocol}://${request.get('host') ?? 'localhost'}${dicomWebPath}`;
}
