import { acceptable } from './acceptable.ts';
import { covers } from './media-type.ts';

/** Data sets as the DICOM JSON model has them (PS3.18 Annex F), several in one array. */
export const json = 'application/dicom+json';
/** Data sets by the Native DICOM Model (PS3.19 section A.1), each in a part of its own. */
export const xml = 'application/dicom+xml';

export type DataSetForm = 'json' | 'xml';

/**
 * The form in which a client most wants metadata, search results and the outcome of storing; JSON where it takes
 * either (PS3.18 sections 10.4.4, 10.5.4 and 10.6.4). Undefined where it takes neither.
 *
 * @param multipart whether XML comes as a multipart message
 */
export function dataSetForm(accept: string | undefined, multipart: boolean): DataSetForm | undefined {
  for (const way of acceptable(accept)) {
    if (covers({ type: way.type, parameters: {} }, json) || way.type === 'application/json') return 'json';
    if (way.type === xml && way.multipart === multipart) return 'xml';
  }
  return undefined;
}
