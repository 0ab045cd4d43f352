import codecs from 'dcmjs-codecs';
import { DicomError } from '../reading/dicom-error.ts';
import type { ImagePixel } from '../reading/image-pixel.ts';
import type { Codec } from '../reading/transfer-syntax.ts';
import { jpeg2000Header, jpegHeader } from './codestream.ts';

const { Context, NativeCodecs, log } = codecs;
log.setLevel('silent');

type WasmCodec = Exclude<Codec, 'rle'>;

const decoders = {
  jpeg: NativeCodecs.decodeJpeg.bind(NativeCodecs),
  'jpeg-ls': NativeCodecs.decodeJpegLs.bind(NativeCodecs),
  'jpeg-2000': NativeCodecs.decodeJpeg2000.bind(NativeCodecs),
  htj2k: NativeCodecs.decodeHtJpeg2000.bind(NativeCodecs),
};

/** A decoded frame; photometric interpretation and layout may differ from what the data set declares. */
export interface DecodedSamples {
  /** Little endian, the samples of a pixel side by side. */
  bytes: Uint8Array;
  bitsAllocated: 8 | 16;
  /** Bits that the stream holds of each sample. */
  precision: number;
  photometricInterpretation: string;
}

/**
 * Decodes one compressed frame in WebAssembly. The decoders trust Rows, Columns and bit depth, and accept
 * streams that end early: all three are checked in the stream's own header first.
 *
 * @throws DicomError `truncated`, `codec` where the stream is damaged or contradicts the Image Pixel module
 */
export async function decodeCompressed(
  codec: WasmCodec,
  encoded: Uint8Array,
  image: ImagePixel,
): Promise<DecodedSamples> {
  const place = { tag: '7FE00010' };
  const header = codec === 'jpeg' || codec === 'jpeg-ls' ? jpegHeader(encoded) : jpeg2000Header(encoded);
  if (!header) throw new DicomError('codec', `no ${codec} frame header`, place);
  if (!header.complete) throw new DicomError('truncated', `the ${codec} stream has no end marker`, place);
  const { rows, columns, samplesPerPixel, precision } = header;
  if (rows !== image.rows || columns !== image.columns || samplesPerPixel !== image.samplesPerPixel)
    throw new DicomError(
      'codec',
      `the ${codec} stream holds ${rows}×${columns}×${samplesPerPixel}, the data set ` +
        `${image.rows}×${image.columns}×${image.samplesPerPixel}`,
      place,
    );
  if (precision > image.bitsAllocated || precision > 16)
    throw new DicomError(
      'codec',
      `${precision} bits a sample in ${image.bitsAllocated} bits allocated`,
      place,
    );
  const bitsAllocated = precision > 8 ? 16 : 8;
  const context = new Context({
    width: columns,
    height: rows,
    bitsAllocated,
    bitsStored: precision,
    samplesPerPixel,
    pixelRepresentation: Number(header.signed ?? image.signed),
    planarConfiguration: 0,
    photometricInterpretation: image.photometricInterpretation,
    encodedBuffer: encoded,
  });
  const convertColorspaceToRgb = samplesPerPixel === 3 && image.photometricInterpretation !== 'RGB';
  try {
    if (!NativeCodecs.isInitialized()) await NativeCodecs.initializeAsync();
    const decoded = decoders[codec](context, { convertColorspaceToRgb });
    const bytes = decoded.getDecodedBuffer()!;
    const expected = (rows * columns * samplesPerPixel * bitsAllocated) / 8;
    if (bytes.length !== expected) throw new Error(`${bytes.length} bytes decoded, ${expected} expected`);
    // JPEG 2000 decodes its own colour transforms, without saying so.
    const declared = decoded.getPhotometricInterpretation()!;
    const photometricInterpretation = /^YBR_(RCT|ICT)$/.test(declared) ? 'RGB' : declared;
    return { bytes, bitsAllocated, precision, photometricInterpretation };
  } catch (error) {
    // An exception leaves the instance's stack and heap as they were: the next frame gets a new instance.
    NativeCodecs.release();
    throw new DicomError('codec', `the ${codec} decoder failed: ${(error as Error).message}`, place);
  }
}
