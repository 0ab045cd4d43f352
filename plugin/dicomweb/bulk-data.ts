import type { DicomJson, DicomJsonValue } from '../../dicom/dicom-json.ts';
import type { DicomPool, InstanceHeader } from '../../dicom/pool.ts';
import { transferSyntax } from '../../dicom/reading/transfer-syntax.ts';
import { acceptable } from './acceptable.ts';
import { frameNumbers, framesMessage } from './frames.ts';
import { fileRange } from './instances.ts';
import { covers } from './media-type.ts';
import type { Message, OutgoingPart } from './multipart.ts';
import { RetrieveError } from './retrieve-error.ts';

const pixelDataTags = ['7FE00010', '7FE00008', '7FE00009'];
const octets = 'application/octet-stream';

/**
 * An instance's data set with a BulkDataURI for each value that it leaves out (PS3.18 section F.2.6), the pixels
 * among them.
 *
 * @param url of the instance
 */
export function withBulkDataURIs(
  { dataset, bulkData, hasPixelData }: InstanceHeader,
  url: string,
): DicomJson {
  let result = dataset;
  for (const { path } of bulkData) {
    result = withURI(result, path.split('/'), `${url}/bulkdata/${path}`);
  }
  if (!hasPixelData) return result;
  return { ...result, '7FE00010': { vr: 'OW', BulkDataURI: `${url}/bulkdata/7FE00010` } };
}

function withURI(dataset: DicomJson, [tag, item, ...rest]: string[], uri: string): DicomJson {
  const { vr, Value = [] } = dataset[tag];
  if (item === undefined) return { ...dataset, [tag]: { vr, BulkDataURI: uri } };
  const items = Value.map((value, index): DicomJsonValue =>
    index === Number(item) ? withURI(value as DicomJson, rest, uri) : value,
  );
  return { ...dataset, [tag]: { vr, Value: items } };
}

/**
 * The value behind a BulkDataURI, in little endian: pixels frame by frame, others as one part.
 *
 * @throws RetrieveError 404 where the instance has no such value, 406
 */
export async function bulkDataMessage(
  pool: DicomPool,
  file: string,
  path: string,
  accept: string | undefined,
): Promise<Message> {
  const header = await pool.readHeader(file);
  if (pixelDataTags.includes(path)) {
    const all = Array.from({ length: header.numberOfFrames }, (_, index) => index + 1);
    return framesMessage(pool, file, frameNumbers(all.join(','), header), accept);
  }
  const value = header.bulkData.find((bulk) => bulk.path === path);
  if (!value) throw new RetrieveError(404, 'the instance has no bulk data under this address');
  const way = acceptable(accept).find(({ type }) => covers({ type, parameters: {} }, octets));
  if (!way) throw new RetrieveError(406, `to be had as ${octets}`);
  return { type: octets, multipart: way.multipart, parts: [valuePart(pool, file, header, value)] };
}

/** Whether a client would rather have the bulk data of instances than whole objects. */
export function wantsBulkData(accept: string | undefined): boolean {
  const way = acceptable(accept).find(
    ({ type }) => type === octets || covers({ type, parameters: {} }, 'application/dicom'),
  );
  return way?.type === octets && way.multipart;
}

/**
 * All bulk data of instances, in little endian, the pixels frame by frame; each part names where it can be had alone
 * (PS3.18 section 8.7.3.3 and table 10.4.4-1).
 */
export function allBulkDataMessage(pool: DicomPool, instances: { file: string; url: string }[]): Message {
  return { type: octets, multipart: true, parts: everyPart(pool, instances) };
}

async function* everyPart(
  pool: DicomPool,
  instances: { file: string; url: string }[],
): AsyncGenerator<OutgoingPart> {
  let any = false;
  for (const { file, url } of instances) {
    const header = await pool.readHeader(file);
    for (const value of header.bulkData) {
      any = true;
      yield { ...valuePart(pool, file, header, value), location: `${url}/bulkdata/${value.path}` };
    }
    for (let frame = 1; header.hasPixelData && frame <= header.numberOfFrames; frame++) {
      any = true;
      const { bytes } = await pool.readFrame(file, frame);
      yield { contentType: octets, location: `${url}/frames/${frame}`, body: [bytes] };
    }
  }
  if (!any) throw new RetrieveError(404, 'what is stored under these UIDs has no bulk data');
}

function valuePart(
  pool: DicomPool,
  file: string,
  { transferSyntaxUID }: InstanceHeader,
  { path, offset, length }: InstanceHeader['bulkData'][number],
): OutgoingPart {
  const { deflated, bigEndian } = transferSyntax(transferSyntaxUID);
  return {
    contentType: octets,
    body:
      deflated || bigEndian
        ? lazily(() => pool.readBulkData(file, path))
        : fileRange(file, { start: offset, end: offset + length - 1 }),
  };
}

async function* lazily(read: () => Promise<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield await read();
}
