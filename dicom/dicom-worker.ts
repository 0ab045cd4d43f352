import { workerData } from 'node:worker_threads';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { decodeFrame, encodedFrame } from './decoding/frame.ts';
import { readGreySlice, type SliceOptions } from './decoding/grey-slice.ts';
import { readPicture } from './decoding/picture.ts';
import { reducedSlice } from './decoding/reduced-slice.ts';
import { frameHistogram, type CountedPixels } from './decoding/value-histogram.ts';
import { FileSource } from './reading/byte-source.ts';
import { DicomError } from './reading/dicom-error.ts';
import { readBulkData, readInstance, type Instance, type ReadingLimits } from './reading/part10.ts';
import type { WorkerAnswer } from './worker-pool.ts';
import { nativeCopyHead, nativePixels } from './writing/native-copy.ts';

/** What `DicomPool` asks of its threads. Frames are counted from 1. */
export type DicomTask =
  | { kind: 'header'; path: string }
  | { kind: 'slice' | 'picture'; path: string; frame: number; options: SliceOptions }
  | { kind: 'histogram'; path: string; frame: number; counted: CountedPixels }
  | { kind: 'reduced'; path: string; frame: number; factor: number }
  | { kind: 'frame'; path: string; frame: number }
  | { kind: 'encoded-frame'; path: string; frame: number }
  | { kind: 'bulk-data'; path: string; bulkPath: string }
  | { kind: 'native-copy-head'; path: string }
  | { kind: 'native-pixels'; path: string; offset: number; length: number };

/** Runs one task in a worker thread. Errors other than `DicomError` are the pool's to report. */
export default async function run(task: DicomTask): Promise<unknown> {
  try {
    using file = new FileSource(task.path);
    if (task.kind === 'native-copy-head') return { result: await nativeCopyHead(file) };
    return transferred({ result: await perform(task, openInstance(file)) });
  } catch (error) {
    if (!(error instanceof DicomError)) throw error;
    const { reason, detail, tag, offset } = error;
    const place = { ...(tag !== undefined && { tag }), ...(offset !== undefined && { offset }) };
    return { error: { reason, detail, place } } satisfies WorkerAnswer<unknown>;
  }
}

let last: { version: string; instance: Instance } | undefined;

/** Frames of one object are asked for one after the other: its header is parsed once. */
function openInstance(file: FileSource): Instance {
  if (last?.version !== file.version)
    last = { version: file.version, instance: readInstance(file, workerData as ReadingLimits) };
  const { instance } = last;
  return instance.syntax.deflated ? instance : { ...instance, source: file };
}

function perform(task: Exclude<DicomTask, { kind: 'native-copy-head' }>, instance: Instance): unknown {
  switch (task.kind) {
    case 'header':
      return instance.header;
    case 'slice':
      return readGreySlice(instance, task.frame, task.options);
    case 'picture':
      return readPicture(instance, task.frame, task.options);
    case 'histogram':
      return frameHistogram(instance, task.frame, task.counted);
    case 'reduced':
      return reducedSlice(instance, task.frame, task.factor);
    case 'frame':
      return decodeFrame(instance, task.frame);
    case 'encoded-frame':
      return encodedFrame(instance, task.frame);
    case 'bulk-data':
      return { bytes: readBulkData(instance, task.bulkPath) };
    case 'native-pixels':
      return { bytes: nativePixels(instance, task.offset, task.length) };
  }
}

/** Pixels that fill their buffer change threads without being copied. */
function transferred(answer: { result: unknown }): unknown {
  const { bytes, pixels } = answer.result as { bytes?: Uint8Array; pixels?: Uint8Array | Float32Array };
  const buffers = [bytes, pixels].flatMap((array) =>
    array && array.byteLength === array.buffer.byteLength ? [array.buffer] : [],
  );
  return move({ [transferableSymbol]: buffers, [valueSymbol]: answer });
}
