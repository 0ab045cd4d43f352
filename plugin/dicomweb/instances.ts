import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { DicomPool } from '../../dicom/pool.ts';
import { explicitLittleEndian, readableTransferSyntaxes } from '../../dicom/reading/transfer-syntax.ts';
import type { InstanceStore, StoredInstance } from '../store/instance-store.ts';
import { acceptable, type Acceptable } from './acceptable.ts';
import { ahead } from './ahead.ts';
import { covers } from './media-type.ts';
import { lentBytes, type Message, type OutgoingPart } from './multipart.ts';
import { RetrieveError } from './retrieve-error.ts';

/** Objects of up to so many bytes are read at once, and before their turn. */
const smallObjectBytes = 2 ** 22;
/** Small objects that are read before their turn. */
const objectsAhead = 3;

/**
 * Whole DICOM objects (PS3.18 section 8.7.3): as they are stored where the client takes that, else in explicit VR
 * little endian, which is what a client gets that names no transfer syntax.
 *
 * @throws RetrieveError 406
 */
export function instancesMessage(
  store: InstanceStore,
  pool: DicomPool,
  instances: StoredInstance[],
  accept: string | undefined,
): Message {
  const wanted = acceptable(accept).filter(
    ({ type, multipart }) =>
      covers({ type, parameters: {} }, 'application/dicom') && (multipart || instances.length === 1),
  );
  if (wanted.length === 0) {
    throw new RetrieveError(406, 'to be had as multipart/related; type="application/dicom"');
  }
  const served = instances.map((instance) => {
    const way = wanted.find((one) => isServed(one, instance.transferSyntaxUID));
    if (!way) {
      const uid = instance.transferSyntaxUID;
      throw new RetrieveError(
        406,
        `stored in ${uid}; to be had as that, or where it can be decoded as ${explicitLittleEndian}`,
      );
    }
    return { path: store.path(instance), instance, way };
  });
  const buffers = new SpareBuffers();
  return {
    type: 'application/dicom',
    multipart: served[0].way.multipart,
    parts: ahead(served, objectsAhead, async ({ path, instance, way }): Promise<OutgoingPart> => {
      const asStored = isAsStored(way, instance.transferSyntaxUID);
      const uid = asStored ? instance.transferSyntaxUID : explicitLittleEndian;
      return {
        contentType: `application/dicom; transfer-syntax=${uid}`,
        body: asStored ? await fileBody(path, buffers) : pool.nativeCopy(path),
      };
    }),
  };
}

function isAsStored({ transferSyntax = explicitLittleEndian }: Acceptable, stored: string): boolean {
  return transferSyntax === '*' || transferSyntax === stored;
}

function isServed(way: Acceptable, stored: string): boolean {
  if (isAsStored(way, stored)) return true;
  return (
    readableTransferSyntaxes.includes(stored) &&
    (way.transferSyntax ?? explicitLittleEndian) === explicitLittleEndian
  );
}

async function fileBody(path: string, buffers: SpareBuffers): Promise<OutgoingPart['body']> {
  await using handle = await open(path);
  const { size } = await handle.stat();
  if (size > smallObjectBytes) return fileRange(path);
  const buffer = buffers.take(size);
  const { bytesRead } = await handle.read(buffer, 0, size, 0);
  if (bytesRead < size) throw new Error('a stored file became shorter while it was read');
  return (function* () {
    yield buffer.subarray(0, size);
    if (size >= lentBytes) buffers.give(buffer);
  })();
}

/** Memory that is used again: to allocate some for each object takes longer than to read it. */
class SpareBuffers {
  readonly #spare: Buffer[] = [];

  take(bytes: number): Buffer {
    const spare = this.#spare.pop();
    return spare && spare.length >= bytes ? spare : Buffer.allocUnsafeSlow(bytes);
  }

  give(buffer: Buffer): void {
    this.#spare.push(buffer);
  }
}

/** Bytes of a file, which is opened when its turn comes; `end` is the last byte. */
export async function* fileRange(
  path: string,
  range: { start?: number; end?: number } = {},
): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path, { highWaterMark: 2 ** 20, ...range }) as AsyncIterable<Uint8Array>;
}
