import type { DecodedFrame, EncodedFrame } from './decoding/frame.ts';
import type { Picture } from './decoding/picture.ts';
import type { SliceOptions } from './decoding/grey-slice.ts';
import type { ReducedSlice } from './decoding/reduced-slice.ts';
import type { CountedPixels, FrameHistogram } from './decoding/value-histogram.ts';
import type { Window } from './decoding/voi-lut.ts';
import type { DicomTask } from './dicom-worker.ts';
import type { InstanceHeader, ReadingLimits } from './reading/part10.ts';
import type { Slice } from './slice.ts';
import type { NativeCopyHead } from './writing/native-copy.ts';
import { WorkerPool, type WorkerPoolOptions } from './worker-pool.ts';

export type { DecodedFrame, EncodedFrame, InstanceHeader, Picture, ReducedSlice, SliceOptions, Window };

/** Native pixels are copied in pieces of so many bytes: a multiple of every sample. */
const pieceBytes = 2 ** 21;

export type DicomPoolOptions = Omit<WorkerPoolOptions, 'workerData'> & Pick<ReadingLimits, 'inflatedBytes'>;

/**
 * Reads DICOM files in worker threads: nothing that parses foreign bytes runs on the calling thread. Every
 * method rejects with a `DicomError`.
 *
 * @example
 * const pool = new DicomPool();
 * const { numberOfFrames } = await pool.readHeader('image.dcm');
 * const slice = await pool.readSlice('image.dcm', 1);
 * await pool.close();
 */
export class DicomPool {
  readonly #workers: WorkerPool<DicomTask, unknown>;

  constructor({ inflatedBytes, ...options }: DicomPoolOptions = {}) {
    const workerData: ReadingLimits = { ...(inflatedBytes !== undefined && { inflatedBytes }) };
    this.#workers = new WorkerPool(new URL('dicom-worker.ts', import.meta.url), { ...options, workerData });
  }

  /** Everything but bulk data, which is not read from the disk either. */
  readHeader(path: string): Promise<InstanceHeader> {
    return this.#workers.run({ kind: 'header', path }) as Promise<InstanceHeader>;
  }

  /** One frame, counted from 1, as 8-bit grey; see `readGreySlice`. */
  readSlice(path: string, frame: number, options: SliceOptions = {}): Promise<Slice> {
    return this.#workers.run({ kind: 'slice', path, frame, options }) as Promise<Slice>;
  }

  /** One frame, counted from 1, as it is to be shown: grey as in `readSlice`, or RGB. */
  readPicture(path: string, frame: number, options: SliceOptions = {}): Promise<Picture> {
    return this.#workers.run({ kind: 'picture', path, frame, options }) as Promise<Picture>;
  }

  /** How often each value occurs in a frame, counted from 1; see `frameHistogram`. */
  readHistogram(path: string, frame: number, counted: CountedPixels = {}): Promise<FrameHistogram> {
    return this.#workers.run({ kind: 'histogram', path, frame, counted }) as Promise<FrameHistogram>;
  }

  /** The values of a frame, counted from 1, at a lower resolution; see `reducedSlice`. */
  readReduced(path: string, frame: number, factor: number): Promise<ReducedSlice> {
    return this.#workers.run({ kind: 'reduced', path, frame, factor }) as Promise<ReducedSlice>;
  }

  /** One frame, counted from 1, as native little-endian samples. */
  readFrame(path: string, frame: number): Promise<DecodedFrame> {
    return this.#workers.run({ kind: 'frame', path, frame }) as Promise<DecodedFrame>;
  }

  /** One frame, counted from 1, as it is stored. */
  readEncodedFrame(path: string, frame: number): Promise<EncodedFrame> {
    return this.#workers.run({ kind: 'encoded-frame', path, frame }) as Promise<EncodedFrame>;
  }

  /** A value that the header leaves out, by its path in `bulkData`, in little endian. */
  async readBulkData(path: string, bulkPath: string): Promise<Uint8Array> {
    const { bytes } = (await this.#workers.run({ kind: 'bulk-data', path, bulkPath })) as {
      bytes: Uint8Array;
    };
    return bytes;
  }

  /**
   * A copy of an instance in explicit VR little endian with native pixels, piece by piece; see `nativeCopyHead`.
   * The first piece comes once it is known that the copy can be made.
   */
  async *nativeCopy(path: string): AsyncGenerator<Uint8Array> {
    const head = (await this.#workers.run({ kind: 'native-copy-head', path })) as NativeCopyHead;
    yield head.bytes;
    let done = 0;
    for (let frame = 1; done < head.pixelBytes; frame++) {
      const { bytes } = head.encapsulated
        ? await this.readFrame(path, frame)
        : ((await this.#workers.run({
            kind: 'native-pixels',
            path,
            offset: done,
            length: Math.min(pieceBytes, head.pixelBytes - done),
          })) as { bytes: Uint8Array });
      yield bytes;
      done += bytes.length;
    }
    if (done % 2 === 1) yield new Uint8Array(1);
  }

  /** Ends the threads; running and waiting tasks are rejected. */
  close(): Promise<void> {
    return this.#workers.close();
  }
}
