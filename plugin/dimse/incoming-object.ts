import { open, rm, type FileHandle } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { writeWhole } from '../store/room.ts';

/** More than this of an object waits for the disk: its sender has to wait. */
const highWater = 4 * 1024 * 1024;

/**
 * An object on its way into a file. The association's code writes to it and never waits, so it takes everything, and
 * says by `isFull` when the sender must be slowed.
 */
export class IncomingObject extends Writable {
  readonly file: string;
  readonly #limit: number;
  readonly #onDrain: () => void;
  #handle: FileHandle | undefined;
  #bytes = 0;

  /** @param limit bytes beyond it are read and dropped. */
  constructor(file: string, limit: number, onDrain: () => void) {
    super({ highWaterMark: Number.MAX_SAFE_INTEGER });
    this.file = file;
    this.#limit = limit;
    this.#onDrain = onDrain;
    this.on('error', () => undefined); // told to whoever waits for its end
  }

  get isTooLarge(): boolean {
    return this.#bytes > this.#limit;
  }

  get isFull(): boolean {
    return this.writableLength > highWater;
  }

  /** Ends it and removes its file, if it is still there. */
  async discard(): Promise<void> {
    if (!this.destroyed) {
      await new Promise<void>((resolve) => {
        this.once('close', resolve);
        this.destroy();
      });
    }
    await rm(this.file, { force: true });
  }

  override _construct(done: (error?: Error) => void): void {
    open(this.file, 'wx').then((handle) => {
      this.#handle = handle;
      done();
    }, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    for (const { chunk } of chunks) this.#bytes += chunk.length;
    const written = this.isTooLarge
      ? Promise.resolve()
      : writeWhole(
          this.#handle!,
          chunks.map(({ chunk }) => chunk),
        );
    written
      .then(() => {
        done();
      }, done)
      .finally(this.#onDrain);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this._writev([{ chunk }], done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const closed = this.#handle ? this.#handle.close() : Promise.resolve();
    closed.then(() => {
      done(error);
    }, done);
  }
}
