import { acceptedMediaTypes, covers, parseMediaType } from './media-type.ts';

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
  for (const mediaType of acceptedMediaTypes(accept)) {
    if (covers(mediaType, json) || mediaType.type === 'application/json') return 'json';
    const inMessage = mediaType.type === 'multipart/related' || mediaType.type === 'multipart/*';
    const ofParts = inMessage ? parseMediaType(mediaType.parameters['type'] ?? xml) : mediaType;
    if (inMessage === multipart && ofParts && covers(ofParts, xml)) return 'xml';
  }
  return undefined;
}
