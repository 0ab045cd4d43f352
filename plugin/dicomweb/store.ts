import { randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { DicomPool, InstanceHeader } from '../../dicom/pool.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import type { Logger } from '../log.ts';
import { isOwnResult } from '../scoring/algorithm.ts';
import type { Settings } from '../settings.ts';
import type { ArrivedFile, InstanceStore } from '../store/instance-store.ts';
import { isDiskFull, writeWhole, type StoreRoom } from '../store/room.ts';
import { parseMediaType, type MediaType } from './media-type.ts';
import { boundaryOf, MultipartError, readParts, wholeBody, type Part } from './multipart.ts';

/** Failure reasons of PS3.18 table I.2-2 that this node gives. */
const failureReason = {
  outOfResources: 0xa700,
  dataSetDoesNotMatch: 0xa900,
  cannotUnderstand: 0xc000,
  processingFailure: 0x0110,
  sopClassNotSupported: 0x0122,
} as const;

/** Where the standard's storage SOP classes are (PS3.4 section B.5). */
export const storageClasses = '1.2.840.10008.5.1.4.1.1.';

/** Warning reason of PS3.18 table I.2-1: what can be retrieved is not all of what was sent. */
const coercionOfElements = 0xb000;

/** What became of one part of a store request. */
type Outcome =
  | { stored: true; header: InstanceHeader; warning?: number }
  | { stored: false; reason: number; header?: InstanceHeader };

/** Objects of one request that are read while more of it comes. */
const objectsUnderWay = 8;
/** Objects of one request that are entered into the index together. */
const objectsTogether = 64;
/** Of an object, gathered before they are written. */
const writtenBytes = 2 ** 20;

/** What a store request needs of the node. */
export interface StoreContext {
  store: InstanceStore;
  pool: DicomPool;
  /** Folder for parts that are not whole yet. */
  incoming: string;
  limits: Pick<Settings['limits'], 'instanceBytes'>;
  room: Pick<StoreRoom, 'left'>;
  log: Logger;
}

/** A STOW-RS answer. */
export interface StoreAnswer {
  status: 200 | 202 | 400 | 409 | 413 | 415 | 503 | 507;
  body?: DicomJson;
  /** What is wrong with a request of which nothing was read. */
  problem?: string;
  /** The rest of the request was not read: the connection must not be used again. */
  givenUp?: true;
}

/**
 * STOW-RS (PS3.18 section 10.5): stores each DICOM object of a request. One that fails does not stop the others.
 *
 * @param studyInstanceUID objects of other studies are refused, where given.
 * @param dicomWebRoot URL under which the stored objects can be retrieved.
 */
export async function storeInstances(
  context: StoreContext & { limits: Pick<Settings['limits'], 'requestBytes' | 'parts'> },
  contentType: string | undefined,
  body: Readable,
  dicomWebRoot: string,
  studyInstanceUID?: string,
): Promise<StoreAnswer> {
  const mediaType = parseMediaType(contentType);
  if (!mediaType || !isAccepted(mediaType)) {
    context.log.warn({ contentType: mediaType?.type }, 'store request refused: content type is not DICOM');
    body.resume();
    return { status: 415, problem: acceptedTypes };
  }
  const { instanceBytes, requestBytes, parts: mostParts } = context.limits;
  const outcomes: Outcome[] = [];
  const refuse = (part: number, reason: number, why: string, at: object = {}, header?: InstanceHeader) => {
    context.log.warn({ part, ...at, reason: reason.toString(16) }, `instance refused: ${why}`);
    outcomes[part - 1] = { stored: false, reason, ...(header && { header }) };
  };

  let full = false;
  let waiting: (ArrivedFile & { part: number })[] = [];
  const storeWaiting = async () => {
    const batch = waiting;
    waiting = [];
    if (batch.length === 0) return;
    const results = await Promise.allSettled(context.store.addAll(batch));
    for (const [i, { file, header, part }] of batch.entries()) {
      const at = { sopInstanceUID: header.sopInstanceUID };
      const result = results[i];
      if (result.status === 'rejected') {
        const error = result.reason as Error;
        full ||= isDiskFull(error);
        refuse(part, reasonOf(error), error.message, { ...at, error }, header);
        await rm(file, { force: true });
        continue;
      }
      const { added, scoring } = result.value;
      context.log.info(
        { part, ...at, studyInstanceUID: header.studyInstanceUID, scoring },
        `instance ${added}`,
      );
      const differs = added === 'another is there';
      outcomes[part - 1] = { stored: true, header, ...(differs && { warning: coercionOfElements }) };
    }
  };

  const keep = async (file: string, part: number) => {
    const header = await context.pool.readHeader(file).catch(async (error: unknown) => {
      refuse(part, reasonOf(error), (error as Error).message, { error });
      await rm(file, { force: true });
    });
    if (!header) return;
    const at = { sopInstanceUID: header.sopInstanceUID };
    if (studyInstanceUID !== undefined && header.studyInstanceUID !== studyInstanceUID) {
      const why = 'of another study than the request names';
      refuse(part, failureReason.dataSetDoesNotMatch, why, at, header);
      await rm(file, { force: true });
    } else if (header.fileMeta['00020010'] === undefined) {
      // What is stored is sent again as it came: the next reader could only guess as well.
      refuse(part, failureReason.cannotUnderstand, 'the file names no transfer syntax', at, header);
      await rm(file, { force: true });
    } else if (!header.sopClassUID.startsWith(storageClasses)) {
      const why = `SOP class ${header.sopClassUID} is not stored`;
      refuse(part, failureReason.sopClassNotSupported, why, at, header);
      await rm(file, { force: true });
    } else {
      // A result comes from a worker, or from another node: nothing to be scored.
      waiting.push({ file, header, part, arrival: !isOwnResult(header.dataset) });
      if (waiting.length >= objectsTogether) await storeWaiting();
    }
  };

  // While objects are read and stored, the next ones come in.
  const underWay = new Set<Promise<void>>();
  let brokeOff = false;
  let bytesLeft = requestBytes;
  let givenUp = false;
  const receive = async ({ headers, body }: Part, part: number) => {
    const type = parseMediaType(headers['content-type'])?.type ?? 'application/dicom';
    if (type !== 'application/dicom') {
      body.resume();
      refuse(part, failureReason.cannotUnderstand, `part is ${type}`);
      return;
    }
    const room = await context.room.left();
    if (room <= 0) {
      givenUp = full = true;
      body.destroy();
      refuse(part, failureReason.outOfResources, 'the store is full');
      return;
    }
    const file = join(context.incoming, randomUUID());
    try {
      const received = await receiveFile(body, file, Math.min(instanceBytes, bytesLeft, room));
      bytesLeft -= received;
    } catch (error) {
      await rm(file, { force: true });
      full ||=
        isDiskFull(error) || (error instanceof TooLargeError && room < Math.min(instanceBytes, bytesLeft));
      brokeOff = error instanceof MultipartError;
      givenUp = full || (error instanceof TooLargeError && bytesLeft < instanceBytes);
      const reason = brokeOff ? failureReason.cannotUnderstand : reasonOf(error);
      refuse(part, reason, (error as Error).message, { error });
      return;
    }
    const keeping = keep(file, part).finally(() => underWay.delete(keeping));
    underWay.add(keeping);
    if (underWay.size >= objectsUnderWay) await Promise.race(underWay);
  };

  let part = 0;
  try {
    const parts =
      mediaType.type === 'application/dicom' ? [wholeBody(body)] : readParts(body, boundaryOf(mediaType));
    for await (const next of parts) {
      if (++part > mostParts) {
        givenUp = true;
        refuse(part, failureReason.outOfResources, `a request of more than ${mostParts} objects`);
      } else await receive(next, part);
      if (givenUp) break;
    }
    if (part === 0) refuse(1, failureReason.cannotUnderstand, 'the request has no part');
  } catch (error) {
    if (!(error instanceof MultipartError)) throw error;
    if (!brokeOff) refuse(part + 1, failureReason.cannotUnderstand, error.message);
  } finally {
    await Promise.all(underWay);
    await storeWaiting();
  }
  const answered = answer(outcomes, dicomWebRoot);
  if (full && !outcomes.some(({ stored }) => stored)) answered.status = 507;
  return { ...answered, ...(givenUp && { givenUp }) };
}

/** PS3.18 table 8.7.3-4 lets a server choose; metadata and bulk data apart could not be kept as they were sent. */
const acceptedTypes =
  'objects are stored as application/dicom or multipart/related; type="application/dicom", not as DICOM JSON or XML with bulk data';

/** A single object, or a multipart message of them. */
function isAccepted({ type, parameters }: MediaType): boolean {
  if (type === 'application/dicom') return true;
  return type === 'multipart/related' && (parameters['type'] ?? 'application/dicom') === 'application/dicom';
}

/** Status and body by PS3.18 tables 10.5.3-1 and I.1-1; 503 where the node itself failed: try again later. */
function answer(outcomes: Outcome[], dicomWebRoot: string): StoreAnswer {
  const stored = outcomes.filter((outcome) => outcome.stored);
  const failed = outcomes.filter((outcome) => !outcome.stored);
  const reference = ({ sopClassUID, sopInstanceUID }: InstanceHeader): DicomJson => ({
    '00081150': { vr: 'UI', Value: [sopClassUID] },
    '00081155': { vr: 'UI', Value: [sopInstanceUID] },
  });
  const body: DicomJson = {};
  const studies = new Set(stored.map(({ header }) => header.studyInstanceUID));
  if (studies.size === 1) {
    body['00081190'] = { vr: 'UR', Value: [`${dicomWebRoot}/studies/${[...studies][0]}`] };
  }
  const failures = failed.map(({ reason, header }) => ({
    ...(header && reference(header)),
    '00081197': { vr: 'US', Value: [reason] },
  }));
  const [named, unnamed] = [true, false].map((known) =>
    failures.filter((_, i) => (failed[i].header !== undefined) === known),
  );
  if (named.length > 0) body['00081198'] = { vr: 'SQ', Value: named };
  if (unnamed.length > 0) body['0008119A'] = { vr: 'SQ', Value: unnamed };
  if (stored.length > 0) {
    body['00081199'] = {
      vr: 'SQ',
      Value: stored.map(({ header, warning }) => ({
        ...reference(header),
        '00081190': {
          vr: 'UR',
          Value: [
            `${dicomWebRoot}/studies/${header.studyInstanceUID}/series/${header.seriesInstanceUID}/instances/${header.sopInstanceUID}`,
          ],
        },
        ...(warning !== undefined && { '00081196': { vr: 'US', Value: [warning] } }),
      })),
    };
  }
  const warned = stored.some(({ warning }) => warning !== undefined);
  if (failed.length === 0) return { status: warned ? 202 : 200, body };
  if (stored.length > 0) return { status: 202, body };
  const badSyntax = failed.every(({ reason }) => reason === failureReason.cannotUnderstand);
  const ourFault = failed.every(({ reason }) => reason === failureReason.processingFailure);
  return { status: badSyntax ? 400 : ourFault ? 503 : 409, body };
}

function reasonOf(error: unknown): number {
  if (error instanceof TooLargeError || isDiskFull(error)) return failureReason.outOfResources;
  const refused = error instanceof DicomError && !['timeout', 'worker'].includes(error.reason);
  return refused ? failureReason.cannotUnderstand : failureReason.processingFailure;
}

class TooLargeError extends Error {
  override name = 'TooLargeError';
}

/**
 * Writes an object to a new file; returns its bytes.
 *
 * @throws TooLargeError if it has more than `limit` bytes
 */
async function receiveFile(body: Readable, file: string, limit: number): Promise<number> {
  await using handle = await open(file, 'wx');
  let received = 0;
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  const write = async () => {
    await writeWhole(handle, gathered);
    gathered = [];
    gatheredBytes = 0;
  };
  for await (const chunk of body as AsyncIterable<Buffer>) {
    received += chunk.length;
    if (received > limit) throw new TooLargeError(`object of more than ${limit} bytes`);
    gathered.push(chunk);
    gatheredBytes += chunk.length;
    if (gatheredBytes >= writtenBytes) await write();
  }
  if (gatheredBytes > 0) await write();
  return received;
}
