import type { DicomPool, InstanceHeader } from '../../dicom/pool.ts';
import { explicitLittleEndian } from '../../dicom/reading/transfer-syntax.ts';
import { acceptable } from './acceptable.ts';
import { ahead } from './ahead.ts';
import { covers } from './media-type.ts';
import type { Message, OutgoingPart } from './multipart.ts';
import { RetrieveError } from './retrieve-error.ts';

/** Frames that are decoded before their turn. */
const framesAhead = 2;

/** Media types of native pixels, and of frames as they are stored. */
const octets = 'application/octet-stream';

/**
 * The frames that a list such as `1,3` names.
 *
 * @throws RetrieveError 400 for what is no list of numbers from 1, 404 for a frame that the instance has not
 */
export function frameNumbers(list: string, { hasPixelData, numberOfFrames }: InstanceHeader): number[] {
  if (!hasPixelData) throw new RetrieveError(404, 'the instance has no pixel data');
  const frames = list.split(',').map((text) => (/^\d{1,9}$/.test(text) ? Number(text) : 0));
  if (frames.includes(0))
    throw new RetrieveError(400, 'frames are whole numbers from 1, separated by commas');
  if (frames.some((frame) => frame > numberOfFrames)) {
    throw new RetrieveError(404, `the instance has ${numberOfFrames} frames`);
  }
  return frames;
}

/**
 * Frames as native little-endian samples, or as they are stored where the client asks for that by media type or
 * transfer syntax (PS3.18 section 8.7.3.3).
 *
 * @throws RetrieveError 406
 */
export async function framesMessage(
  pool: DicomPool,
  path: string,
  frames: number[],
  accept: string | undefined,
): Promise<Message> {
  const { mediaType, transferSyntaxUID } = await pool.readEncodedFrame(path, frames[0]);
  const way = acceptable(accept)
    .filter(({ multipart }) => multipart || frames.length === 1)
    .flatMap(({ type, transferSyntax, multipart }) => {
      const range = { type, parameters: {} };
      const any = transferSyntax === undefined || transferSyntax === '*';
      const stored = any || transferSyntax === transferSyntaxUID;
      // A range without a transfer syntax leaves the choice to us: native is what every client understands.
      if (covers(range, mediaType) && stored && (type === mediaType || transferSyntax !== undefined)) {
        return [{ stored: mediaType !== octets, multipart }];
      }
      const native = any || transferSyntax === explicitLittleEndian;
      return covers(range, octets) && native ? [{ stored: false, multipart }] : [];
    })
    .at(0);
  if (!way) throw new RetrieveError(406, `frames are to be had as ${octets} or ${mediaType}`);
  const part = async (frame: number): Promise<OutgoingPart> => {
    if (!way.stored) {
      const { bytes } = await pool.readFrame(path, frame);
      return { contentType: `${octets}; transfer-syntax=${explicitLittleEndian}`, body: [bytes] };
    }
    const { bytes } = await pool.readEncodedFrame(path, frame);
    return { contentType: `${mediaType}; transfer-syntax=${transferSyntaxUID}`, body: [bytes] };
  };
  return {
    type: way.stored ? mediaType : octets,
    multipart: way.multipart,
    parts: ahead(frames, framesAhead, part),
  };
}
