import { PassThrough, type Readable } from 'node:stream';
import { Dicer } from '@fastify/busboy';
import type { MediaType } from './media-type.ts';

/** A message that is no multipart message, or that ends before its closing boundary. */
export class MultipartError extends Error {
  override name = 'MultipartError';
}

/** One part of a multipart message. The next comes when its body has been read to the end, or destroyed. */
export interface Part {
  /** By name in lower case. */
  headers: Record<string, string>;
  body: Readable;
}

/** RFC 2046 permits 70; Orthanc's have 73. */
const longestBoundary = 200;

/**
 * The boundary of a multipart content type (RFC 2046 section 5.1.1).
 *
 * @throws MultipartError if there is none.
 */
export function boundaryOf(mediaType: MediaType): string {
  const boundary = mediaType.parameters['boundary'];
  if (!boundary || boundary.length > longestBoundary) {
    throw new MultipartError(`${mediaType.type} without a boundary of 1 to ${longestBoundary} characters`);
  }
  return boundary;
}

/**
 * The parts of a multipart message as they come in; a slow reader slows the sender.
 *
 * @throws MultipartError if the closing boundary does not come: the message is not whole.
 */
export async function* readParts(source: Readable, boundary: string): AsyncGenerator<Part> {
  const arrived: Part[] = [];
  let last: Part | undefined;
  let ended = false;
  let failure: MultipartError | undefined;
  let wake: () => void = () => undefined;

  const end = (message?: string) => {
    if (ended) return;
    ended = true;
    if (message !== undefined) {
      failure = new MultipartError(message);
      last?.body.destroy(failure);
    }
    wake();
  };
  const dicer = new Dicer({ boundary });
  let withoutHeader = 0;
  dicer.on('part', (content) => {
    withoutHeader++;
    content.on('error', () => undefined); // reported by the message as a whole
    content.on('header', (header) => {
      withoutHeader--;
      const body = content.pipe(new PassThrough());
      body.on('error', () => undefined); // a part that nobody reads any more must not end the process
      body.on('close', () => content.resume()); // nor one that nobody reads to its end stop the message
      last = { headers: inLowerCase(header as Record<string, string[]>), body };
      arrived.push(last);
      wake();
    });
  });
  dicer.on('finish', () => {
    end(withoutHeader > 0 ? 'a part has no header' : undefined);
  });
  dicer.on('error', () => {
    end('the message ends before its closing boundary');
  });
  source.on('error', (error) => {
    end(`the message broke off: ${error.message}`);
  });
  source.on('close', () => {
    if (!source.readableEnded) end('the sender went away in the middle of the message');
  });
  source.pipe(dicer);

  try {
    for (;;) {
      const part = arrived.shift();
      if (part) yield part;
      else if (ended) break;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    source.unpipe(dicer);
  }
  source.resume(); // what stands behind the closing boundary, so that the sender's connection can be used again
  if (failure) throw failure;
}

/** A message that is no multipart message, as if it were the only part of one. */
export function wholeBody(source: Readable): Part {
  const body = source.pipe(new PassThrough());
  source.on('error', (error) => body.destroy(new MultipartError(`the message broke off: ${error.message}`)));
  body.on('error', () => undefined); // told to whoever reads it
  body.on('close', () => source.resume()); // the rest of what was given up, so that the sender hears an answer
  return { headers: {}, body };
}

function inLowerCase(header: Record<string, string[]>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(header).map(([name, values]) => [name.toLowerCase(), values.join(', ')]),
  );
}

/**
 * Pieces of a body that have so many bytes or more are lent: their memory is used again once the next piece is
 * asked for.
 */
export const lentBytes = 2 ** 16;

/** A part to be written: its content type, and its bytes. */
export interface OutgoingPart {
  contentType: string;
  /** URL of what the part holds. */
  location?: string;
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A payload of one part or more. */
export interface Message {
  /** Media type of each part. */
  type: string;
  /** Whether a single part is sent as a multipart message too. */
  multipart: boolean;
  parts: AsyncIterable<OutgoingPart> | Iterable<OutgoingPart>;
}

/** The bytes of a multipart message; parts are asked for one by one, as the receiver takes them. */
export async function* writeParts(
  parts: AsyncIterable<OutgoingPart> | Iterable<OutgoingPart>,
  boundary: string,
): AsyncGenerator<Uint8Array> {
  for await (const part of parts) {
    const location = part.location === undefined ? '' : `Content-Location: ${part.location}\r\n`;
    yield Buffer.from(`\r\n--${boundary}\r\nContent-Type: ${part.contentType}\r\n${location}\r\n`);
    yield* part.body;
  }
  yield Buffer.from(`\r\n--${boundary}--\r\n`);
}
