/**
 * Why an object could not be read, for programs to decide on:
 * - `not-dicom`: no Part 10 file, or an attribute that every instance has is missing or malformed;
 * - `truncated`: a length leads beyond the end of the file, or a compressed frame ends early;
 * - `malformed`: the bytes contradict PS3.5;
 * - `unsupported`: valid, but not readable here (transfer syntax, bit depth);
 * - `no-frame`: no pixel data, or no frame of that number;
 * - `colour`: a grey slice was asked for, the object is in colour;
 * - `codec`: the decoder refused the frame;
 * - `too-large`: beyond the limit for one frame;
 * - `timeout`: the task took longer than the pool allows;
 * - `worker`: the worker thread died, or the file could not be opened.
 */
export type DicomErrorReason =
  | 'not-dicom'
  | 'truncated'
  | 'malformed'
  | 'unsupported'
  | 'no-frame'
  | 'colour'
  | 'codec'
  | 'too-large'
  | 'timeout'
  | 'worker';

/** Where it went wrong: the attribute (eight hexadecimal digits) and the byte offset in the file. */
export interface DicomErrorPlace {
  tag?: string;
  /** In the data set after inflation where the transfer syntax is deflated. */
  offset?: number;
}

/** An object that cannot be read. The message names tag and offset and holds no attribute value. */
export class DicomError extends Error {
  override readonly name = 'DicomError';
  readonly reason: DicomErrorReason;
  readonly tag: string | undefined;
  readonly offset: number | undefined;
  /** The message without the place. */
  readonly detail: string;

  constructor(reason: DicomErrorReason, detail: string, { tag, offset }: DicomErrorPlace = {}) {
    const place = [
      ...(tag === undefined ? [] : [`(${tag.slice(0, 4)},${tag.slice(4)})`]),
      ...(offset === undefined ? [] : [`byte ${offset}`]),
    ];
    super(place.length === 0 ? detail : `${detail} at ${place.join(', ')}`);
    this.reason = reason;
    this.detail = detail;
    this.tag = tag;
    this.offset = offset;
  }
}
