import { createReadStream } from 'node:fs';
import sharp from 'sharp';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { DicomPool } from '../../dicom/pool.ts';
import type { InstanceStore, StoredInstance } from '../store/instance-store.ts';
import { acceptedMediaTypes, covers, parseMediaType, type MediaType } from './media-type.ts';
import type { OutgoingPart } from './multipart.ts';

/** A retrieve request that cannot be served as asked: its HTTP status and why (PS3.18 section 10.4.3). */
export class RetrieveError extends Error {
  override name = 'RetrieveError';
  readonly status: 400 | 404 | 406;

  constructor(status: 400 | 404 | 406, message: string) {
    super(message);
    this.status = status;
  }
}

/** Whole DICOM objects as they are stored, each a part (PS3.18 table 8.7.3-1). */
export function instanceParts(
  store: InstanceStore,
  instances: StoredInstance[],
  accept: string | undefined,
): OutgoingPart[] {
  const wanted = multipartsOf(accept, 'application/dicom');
  return instances.map((instance) => {
    const asStored = wanted.some(({ parameters }) => {
      const transferSyntax = parameters['transfer-syntax'] ?? '*';
      return transferSyntax === '*' || transferSyntax === instance.transferSyntaxUID;
    });
    if (!asStored) {
      throw new RetrieveError(406, `stored only in transfer syntax ${instance.transferSyntaxUID}`);
    }
    return {
      contentType: `application/dicom; transfer-syntax=${instance.transferSyntaxUID}`,
      body: createReadStreamLazily(store.path(instance)),
    };
  });
}

/** Files are opened when their turn comes, not all at once. */
async function* createReadStreamLazily(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path, { highWaterMark: 2 ** 18 }) as AsyncIterable<Uint8Array>;
}

/** The data sets of instances without bulk data, one after the other (PS3.18 section 10.4.1.1.2). */
export async function* metadata(
  store: InstanceStore,
  pool: DicomPool,
  instances: StoredInstance[],
): AsyncGenerator<DicomJson> {
  for (const instance of instances) yield (await pool.readHeader(store.path(instance))).dataset;
}

/** Frames, decoded to native little endian unless the request accepts them as they are stored. */
export async function frameParts(
  store: InstanceStore,
  pool: DicomPool,
  instance: StoredInstance,
  frameList: string,
  accept: string | undefined,
): Promise<AsyncGenerator<OutgoingPart>> {
  const path = store.path(instance);
  const { numberOfFrames, hasPixelData } = await pool.readHeader(path);
  if (!hasPixelData) throw new RetrieveError(404, 'the instance has no pixel data');
  const frames = frameList.split(',').map(Number);
  const wrong = frames.find((frame) => !Number.isInteger(frame) || frame < 1);
  if (wrong !== undefined)
    throw new RetrieveError(400, 'frames are whole numbers from 1, separated by commas');
  if (frames.some((frame) => frame > numberOfFrames)) {
    throw new RetrieveError(404, `the instance has ${numberOfFrames} frames`);
  }

  const encoded = await pool.readEncodedFrame(path, frames[0]);
  const accepted = acceptedMediaTypes(accept).map(partTypeOf);
  const native = accepted.findIndex((type) => covers(type, 'application/octet-stream'));
  const asStored = accepted.findIndex(
    (type) => covers(type, encoded.mediaType) && type.parameters['transfer-syntax'] !== undefined,
  );
  const named = accepted.findIndex(
    (type) => type.type === encoded.mediaType && type.type !== 'application/octet-stream',
  );
  const storedRank = Math.min(...[asStored, named].filter((rank) => rank >= 0));
  if (native < 0 && storedRank === Infinity) {
    throw new RetrieveError(406, `frames are to be had as application/octet-stream or ${encoded.mediaType}`);
  }
  const takeStored = native < 0 || storedRank <= native;
  return (async function* () {
    for (const frame of frames) {
      if (takeStored) {
        const { bytes, mediaType, transferSyntaxUID } = await pool.readEncodedFrame(path, frame);
        yield { contentType: `${mediaType}; transfer-syntax=${transferSyntaxUID}`, body: [bytes] };
      } else {
        const { bytes } = await pool.readFrame(path, frame);
        yield { contentType: 'application/octet-stream', body: [bytes] };
      }
    }
  })();
}

/** Largest side of a rendered image, in pixels. */
const largestViewport = 4096;

/** How a rendered image is asked for (PS3.18 section 8.3.5). */
export interface Rendering {
  window?: { center: number; width: number };
  /** Largest columns and rows. */
  viewport?: [number, number];
}

/**
 * Understands `window=center,width,function` and `viewport=columns,rows`.
 *
 * @throws RetrieveError 400 where they are malformed.
 */
export function parseRendering(parameters: URLSearchParams): Rendering {
  const rendering: Rendering = {};
  const window = parameters.get('window');
  if (window !== null) {
    const [center, width, shape] = window.split(',');
    if (!isNumber(center) || !isNumber(width) || Number(width) < 1 || shape?.toLowerCase() !== 'linear') {
      throw new RetrieveError(400, 'window is center,width,linear with a width of at least 1');
    }
    rendering.window = { center: Number(center), width: Number(width) };
  }
  const viewport = parameters.get('viewport');
  if (viewport !== null) {
    const [columns, rows] = viewport.split(',').map(Number);
    if (![columns, rows].every((size) => Number.isInteger(size) && size >= 1 && size <= largestViewport)) {
      throw new RetrieveError(400, `viewport is columns,rows, each from 1 to ${largestViewport}`);
    }
    rendering.viewport = [columns, rows];
  }
  return rendering;
}

/** A frame as a picture: grey through its window, colour as it is. */
export async function renderFrame(
  store: InstanceStore,
  pool: DicomPool,
  instance: StoredInstance,
  frame: number,
  rendering: Rendering,
  accept: string | undefined,
): Promise<{ mediaType: string; bytes: Buffer }> {
  const wanted = acceptedMediaTypes(accept);
  const mediaType =
    ['image/jpeg', 'image/png'].find((type) => wanted.some((accepted) => accepted.type === type)) ??
    ['image/jpeg', 'image/png'].find((type) => wanted.some((accepted) => covers(accepted, type)));
  if (!mediaType) throw new RetrieveError(406, 'rendered as image/jpeg or image/png');

  const path = store.path(instance);
  const { numberOfFrames, hasPixelData } = await pool.readHeader(path);
  if (!hasPixelData) throw new RetrieveError(404, 'the instance has no pixel data');
  if (frame > numberOfFrames) throw new RetrieveError(404, `the instance has ${numberOfFrames} frames`);
  const { pixels, columns, rows, channels } = await pool.readPicture(
    path,
    frame,
    rendering.window && { window: rendering.window },
  );
  let image = sharp(pixels, { raw: { width: columns, height: rows, channels } });
  if (rendering.viewport) {
    image = image.resize(rendering.viewport[0], rendering.viewport[1], { fit: 'inside' });
  }
  const bytes = await (mediaType === 'image/png' ? image.png() : image.jpeg({ quality: 90 })).toBuffer();
  return { mediaType, bytes };
}

/** The multipart types in `accept` whose parts may be `partType`. */
function multipartsOf(accept: string | undefined, partType: string): MediaType[] {
  const multiparts = acceptedMediaTypes(accept).filter((type) => covers(partTypeOf(type), partType));
  if (multiparts.length === 0)
    throw new RetrieveError(406, `to be had as multipart/related; type="${partType}"`);
  return multiparts;
}

/** The type of the parts that an accepted type asks for, with the parameters beside it. */
function partTypeOf(accepted: MediaType): MediaType {
  if (accepted.type !== 'multipart/related') return accepted;
  const inner = parseMediaType(accepted.parameters['type'] ?? '*/*');
  return { type: inner?.type ?? '*/*', parameters: accepted.parameters };
}

function isNumber(text: string | undefined): text is string {
  return text !== undefined && text.trim() !== '' && Number.isFinite(Number(text));
}
