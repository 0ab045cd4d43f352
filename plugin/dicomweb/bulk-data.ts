import type { DicomJson, DicomJsonValue } from '../../dicom/dicom-json.ts';
import type { DicomPool, InstanceHeader } from '../../dicom/pool.ts';
import { transferSyntax } from '../../dicom/reading/transfer-syntax.ts';
import { acceptable } from './acceptable.ts';
import { frameNumbers, framesMessage } from './frames.ts';
import { fileRange } from './instances.ts';
import { covers } from './media-type.ts';
import type { Message } from './multipart.ts';
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
  const { deflated, bigEndian } = transferSyntax(header.transferSyntaxUID);
  const { offset, length } = value;
  return {
    type: octets,
    multipart: way.multipart,
    parts: [
      {
        contentType: octets,
        body:
          deflated || bigEndian
            ? [await pool.readBulkData(file, path)]
            : fileRange(file, { start: offset, end: offset + length - 1 }),
      },
    ],
  };
}
