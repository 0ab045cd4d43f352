import sharp from 'sharp';
import type { DicomPool, Window } from '../../dicom/pool.ts';
import { acceptable } from './acceptable.ts';
import { covers } from './media-type.ts';
import { RetrieveError } from './retrieve-error.ts';

/** Largest side of a rendered image, in pixels. */
const largestViewport = 8192;
/** Largest side of a thumbnail that does not say how large it is to be, in pixels. */
const thumbnailSide = 128;
const defaultQuality = 90;

/** How a rendered image is asked for (PS3.18 section 8.3.5). */
export interface Rendering {
  window?: Window;
  viewport?: Viewport;
  /** Of JPEG, 1 to 100. */
  quality: number;
  /** Parameters of the section that are not heeded. */
  unsupported: string[];
}

/** PS3.18 section 8.3.5.1.3. */
interface Viewport {
  /** Largest columns and rows of the result. */
  columns: number;
  rows: number;
  /** The part of the source that is shown; a negative width or height flips it. */
  source?: { left: number; top: number; width: number; height: number };
}

const voiLutFunctions = { linear: 'LINEAR', 'linear-exact': 'LINEAR_EXACT', sigmoid: 'SIGMOID' } as const;

/**
 * Understands `window=center,width,function`, `viewport=columns,rows,left,top,width,height` and `quality=1…100`.
 *
 * @param thumbnail whether a viewport is set where none is asked for
 * @throws RetrieveError 400 where they are malformed
 */
export function parseRendering(parameters: URLSearchParams, thumbnail = false): Rendering {
  const window = parameters.get('window');
  const viewport = parameters.get('viewport');
  const quality = Number(parameters.get('quality') ?? defaultQuality);
  if (!Number.isInteger(quality) || quality < 1 || quality > 100) {
    throw new RetrieveError(400, 'quality is a whole number from 1 to 100');
  }
  return {
    ...(window !== null && { window: parseWindow(window) }),
    ...(viewport !== null && { viewport: parseViewport(viewport) }),
    ...(viewport === null && thumbnail && { viewport: { columns: thumbnailSide, rows: thumbnailSide } }),
    quality,
    unsupported: ['annotation', 'iccprofile'].filter((name) => parameters.has(name)),
  };
}

/** @throws RetrieveError 400 if it is none. */
export function parseWindow(text: string): Window {
  const [center, width, name = 'linear', ...more] = text.split(',');
  const shape = name.toLowerCase();
  const least = shape === 'linear' ? 1 : Number.MIN_VALUE;
  if (!isNumber(center) || !isNumber(width) || Number(width) < least || more.length > 0) {
    throw new RetrieveError(400, 'window is center,width,function; with linear the width is at least 1');
  }
  if (!Object.hasOwn(voiLutFunctions, shape)) {
    throw new RetrieveError(
      400,
      `the function of a window is one of ${Object.keys(voiLutFunctions).join(', ')}`,
    );
  }
  const voiLutFunction = voiLutFunctions[shape as keyof typeof voiLutFunctions];
  return { center: Number(center), width: Number(width), voiLutFunction };
}

function parseViewport(text: string): Viewport {
  const numbers = text.split(',').map((part) => (isNumber(part) ? Number(part) : NaN));
  const [columns, rows, left = 0, top = 0, width, height] = numbers;
  const sizes = [columns, rows].every(
    (size) => Number.isInteger(size) && size >= 1 && size <= largestViewport,
  );
  const whole = numbers.every(Number.isInteger) && [2, 6].includes(numbers.length) && left >= 0 && top >= 0;
  if (!sizes || !whole || width === 0 || height === 0) {
    throw new RetrieveError(
      400,
      `viewport is columns,rows or columns,rows,left,top,width,height in pixels, columns and rows from 1 to ${largestViewport}`,
    );
  }
  return { columns, rows, ...(width !== undefined && { source: { left, top, width, height } }) };
}

/**
 * The media type of pictures that a client takes; of several, in a multipart message.
 *
 * @throws RetrieveError 406
 */
export function pictureType(accept: string | undefined, count: number): string {
  const offered = ['image/jpeg', 'image/png'];
  const types = acceptable(accept)
    .filter(({ multipart }) => multipart || count === 1)
    .flatMap(({ type }) => offered.find((one) => covers({ type, parameters: {} }, one)) ?? []);
  if (types.length > 0) return types[0];
  throw new RetrieveError(406, `rendered as ${offered.join(' or ')}, ${count} pictures as multipart/related`);
}

/** A frame as a picture: grey through its window, colour as it is. */
export async function renderFrame(
  pool: DicomPool,
  path: string,
  frame: number,
  { window, viewport, quality }: Rendering,
  mediaType: string,
): Promise<Buffer> {
  const { pixels, columns, rows, channels } = await pool.readPicture(path, frame, window && { window });
  let image = sharp(pixels, { raw: { width: columns, height: rows, channels } });
  if (viewport?.source) {
    const { left, top, width, height } = viewport.source;
    const size = { width: Math.abs(width), height: Math.abs(height) };
    if (left + size.width > columns || top + size.height > rows) {
      throw new RetrieveError(400, `the viewport's source leads beyond ${columns} columns and ${rows} rows`);
    }
    image = image.extract({ left, top, ...size });
    if (width < 0) image = image.flop();
    if (height < 0) image = image.flip();
  }
  if (viewport) image = image.resize(viewport.columns, viewport.rows, { fit: 'inside' });
  return (mediaType === 'image/png' ? image.png() : image.jpeg({ quality })).toBuffer();
}

function isNumber(text: string | undefined): text is string {
  return text !== undefined && text.trim() !== '' && Number.isFinite(Number(text));
}
