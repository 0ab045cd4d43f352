import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DicomError } from './dicom-error.ts';

/** Random access to the bytes of one object, so that no file is ever held whole for its header. */
export interface ByteSource {
  readonly size: number;
  /** `length` bytes from `offset`; valid until the next call. The range must lie within the size. */
  read(offset: number, length: number): Uint8Array;
}

/** Bytes that are in memory already (an inflated data set). */
export class MemorySource implements ByteSource {
  readonly size: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    // Not a Buffer: its slice() would be a view.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.size = bytes.length;
  }

  read(offset: number, length: number): Uint8Array {
    return this.#bytes.subarray(offset, offset + length);
  }
}

const windowBytes = 64 * 1024;

/** A file, read through one window: a header costs a read or two, a large value is read as one piece. */
export class FileSource implements ByteSource, Disposable {
  readonly size: number;
  /** Changes when the file is replaced or written to. */
  readonly version: string;
  readonly #descriptor: number;
  #window = new Uint8Array(0);
  #windowOffset = 0;

  /** @throws DicomError where the path is no regular file (a pipe would block the thread for good) */
  constructor(path: string) {
    this.#descriptor = openSync(path, 'r');
    const status = fstatSync(this.#descriptor, { bigint: true });
    this.size = Number(status.size);
    this.version = [status.dev, status.ino, status.size, status.mtimeNs, status.ctimeNs].join(' ');
    if (!status.isFile()) {
      closeSync(this.#descriptor);
      throw new DicomError('not-dicom', 'not a regular file');
    }
  }

  read(offset: number, length: number): Uint8Array {
    const start = offset - this.#windowOffset;
    if (start < 0 || start + length > this.#window.length) {
      const wanted = Math.max(length, Math.min(windowBytes, this.size - offset));
      this.#window = this.#fill(new Uint8Array(wanted), offset);
      this.#windowOffset = offset;
      return this.#window.subarray(0, length);
    }
    return this.#window.subarray(start, start + length);
  }

  #fill(bytes: Uint8Array<ArrayBuffer>, offset: number): Uint8Array<ArrayBuffer> {
    for (let done = 0; done < bytes.length;) {
      const count = readSync(this.#descriptor, bytes, done, bytes.length - done, offset + done);
      if (count === 0)
        throw new DicomError('truncated', 'the file became shorter while it was read', { offset });
      done += count;
    }
    return bytes;
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }
}
