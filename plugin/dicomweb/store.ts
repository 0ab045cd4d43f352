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
import type { InstanceStore } from '../store/instance-store.ts';
import { parseMediaType, type MediaType } from './media-type.ts';
import { boundaryOf, MultipartError, readParts, type Part } from './multipart.ts';

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

/** What became of one part of a store request. */
type Outcome =
  { stored: true; header: InstanceHeader } | { stored: false; reason: number; header?: InstanceHeader };

/** What a store request needs of the node. */
export interface StoreContext {
  store: InstanceStore;
  pool: DicomPool;
  /** Folder for parts that are not whole yet. */
  incoming: string;
  instanceBytes: number;
  log: Logger;
}

/** A STOW-RS answer. */
export interface StoreAnswer {
  status: 200 | 202 | 400 | 409 | 415 | 503;
  body?: DicomJson;
}

/**
 * STOW-RS (PS3.18 section 10.5): stores each DICOM object of a request, in the order in which they come.
 *
 * @param studyInstanceUID objects of other studies are refused, where given.
 * @param dicomWebRoot URL under which the stored objects can be retrieved.
 */
export async function storeInstances(
  context: StoreContext,
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
  const outcomes: Outcome[] = [];
  const refuse = (reason: number, at: object, why: string, header?: InstanceHeader) => {
    context.log.warn({ ...at, reason: reason.toString(16) }, `instance refused: ${why}`);
    outcomes.push({ stored: false, reason, ...(header && { header }) });
  };

  const storePart = async (part: Part, index: number) => {
    const file = join(context.incoming, randomUUID());
    try {
      const type = parseMediaType(part.headers['content-type'])?.type ?? 'application/dicom';
      if (type !== 'application/dicom') {
        part.body.resume();
        refuse(failureReason.cannotUnderstand, { part: index }, `part is ${type}`);
        return;
      }
      await pipeline(part.body, atMost(context.instanceBytes), createWriteStream(file));
      const header = await context.pool.readHeader(file);
      const at = { part: index, sopInstanceUID: header.sopInstanceUID };
      if (studyInstanceUID !== undefined && header.studyInstanceUID !== studyInstanceUID) {
        refuse(failureReason.dataSetDoesNotMatch, at, 'of another study than the request names', header);
      } else if (!header.sopClassUID.startsWith(storageClasses)) {
        refuse(
          failureReason.sopClassNotSupported,
          at,
          `SOP class ${header.sopClassUID} is not stored`,
          header,
        );
      } else {
        const result = await context.store.add(file, header, { arrival: true });
        context.log.info({ ...at, studyInstanceUID: header.studyInstanceUID }, `instance ${result}`);
        outcomes.push({ stored: true, header });
      }
    } catch (error) {
      if (error instanceof MultipartError) throw error;
      refuse(reasonOf(error), { part: index, error }, (error as Error).message);
    } finally {
      await rm(file, { force: true });
    }
  };

  try {
    let index = 0;
    const parts =
      mediaType.type === 'application/dicom'
        ? [{ headers: {}, body }]
        : readParts(body, boundaryOf(mediaType));
    for await (const part of parts) await storePart(part, ++index);
    if (index === 0) refuse(failureReason.cannotUnderstand, {}, 'the request has no part');
  } catch (error) {
    if (!(error instanceof MultipartError)) throw error;
    refuse(failureReason.cannotUnderstand, { part: outcomes.length + 1 }, error.message);
  }
  return answer(outcomes, dicomWebRoot);
}

/** A single object, or a multipart message of them. */
function isAccepted({ type, parameters }: MediaType): boolean {
  if (type === 'application/dicom') return true;
  return type === 'multipart/related' && (parameters['type'] ?? 'application/dicom') === 'application/dicom';
}

/** Status and body by PS3.18 tables 10.5.3-1 and 10.5.3-2; 503 where the node itself failed: try again later. */
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
  if (failed.length > 0) {
    body['00081198'] = {
      vr: 'SQ',
      Value: failed.map(({ reason, header }) => ({
        ...(header && reference(header)),
        '00081197': { vr: 'US', Value: [reason] },
      })),
    };
  }
  if (stored.length > 0) {
    body['00081199'] = {
      vr: 'SQ',
      Value: stored.map(({ header }) => ({
        ...reference(header),
        '00081190': {
          vr: 'UR',
          Value: [
            `${dicomWebRoot}/studies/${header.studyInstanceUID}/series/${header.seriesInstanceUID}/instances/${header.sopInstanceUID}`,
          ],
        },
      })),
    };
  }
  if (failed.length === 0) return { status: 200, body };
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
