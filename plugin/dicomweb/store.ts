import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { DicomJson } from '../../dicom/dicom-json.ts';
import type { DicomPool, InstanceHeader } from '../../dicom/pool.ts';
import { DicomError } from '../../dicom/reading/dicom-error.ts';
import type { Logger } from '../log.ts';
import { isOwnResult } from '../scoring/algorithm.ts';
import type { Settings } from '../settings.ts';
import type { InstanceStore } from '../store/instance-store.ts';
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

/** Objects of one request that are read and entered while more of it comes. */
const objectsUnderWay = 8;

/** What a store request needs of the node. */
export interface StoreContext {
  store: InstanceStore;
  pool: DicomPool;
  /** Folder for parts that are not whole yet. */
  incoming: string;
  limits: Pick<Settings['limits'], 'instanceBytes'>;
  log: Logger;
}

/** A STOW-RS answer. */
export interface StoreAnswer {
  status: 200 | 202 | 400 | 409 | 413 | 415 | 503;
  body?: DicomJson;
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
    return { status: 415 };
  }
  const { instanceBytes, requestBytes, parts: mostParts } = context.limits;
  const outcomes: Outcome[] = [];
  const refuse = (part: number, reason: number, why: string, at: object = {}, header?: InstanceHeader) => {
    context.log.warn({ part, ...at, reason: reason.toString(16) }, `instance refused: ${why}`);
    outcomes[part - 1] = { stored: false, reason, ...(header && { header }) };
  };

  const keep = async (file: string, part: number) => {
    try {
      const header = await context.pool.readHeader(file);
      const at = { sopInstanceUID: header.sopInstanceUID };
      if (studyInstanceUID !== undefined && header.studyInstanceUID !== studyInstanceUID) {
        const why = 'of another study than the request names';
        refuse(part, failureReason.dataSetDoesNotMatch, why, at, header);
      } else if (!header.sopClassUID.startsWith(storageClasses)) {
        const why = `SOP class ${header.sopClassUID} is not stored`;
        refuse(part, failureReason.sopClassNotSupported, why, at, header);
      } else {
        // A result comes from a worker, or from another node: nothing to be scored.
        const added = await context.store.add(file, header, { arrival: !isOwnResult(header.dataset) });
        context.log.info({ part, ...at, studyInstanceUID: header.studyInstanceUID }, `instance ${added}`);
        outcomes[part - 1] = {
          stored: true,
          header,
          ...(added === 'another is there' && { warning: coercionOfElements }),
        };
      }
    } catch (error) {
      refuse(part, reasonOf(error), (error as Error).message, { error });
    } finally {
      await rm(file, { force: true });
    }
  };

  // While objects are read and entered, the next ones come in.
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
    const file = join(context.incoming, randomUUID());
    try {
      const written = createWriteStream(file);
      await pipeline(body, atMost(Math.min(instanceBytes, bytesLeft)), written);
      bytesLeft -= written.bytesWritten;
    } catch (error) {
      await rm(file, { force: true });
      brokeOff = error instanceof MultipartError;
      givenUp = error instanceof TooLargeError && bytesLeft < instanceBytes;
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
  }
  return { ...answer(outcomes, dicomWebRoot), ...(givenUp && { givenUp }) };
}

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
  if (error instanceof TooLargeError) return failureReason.outOfResources;
  const refused = error instanceof DicomError && !['timeout', 'worker'].includes(error.reason);
  return refused ? failureReason.cannotUnderstand : failureReason.processingFailure;
}

class TooLargeError extends Error {
  override name = 'TooLargeError';
}

/** Passes at most `bytes` on. */
function atMost(bytes: number): Transform {
  let passed = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      passed += chunk.length;
      if (passed > bytes) done(new TooLargeError(`object of more than ${bytes} bytes`));
      else done(null, chunk);
    },
  });
}
